"""Sun, Cao, Xu and Ponce, CVPR 2015: the motion of each patch from a CNN, undone by deconvolution.

A CNN classifies which of 73 straight motions blurred a 30x30 patch; turned copies of the image
extend them to 361; a Markov random field combines all patches into one motion field, and the image
is deconvolved with it under a patch prior (EPLL). Two methods: ``sun2015`` follows the paper as far
as it is known, ``sun2015-plus`` adds what was found to help.

| point            | paper                    | sun2015             | sun2015-plus                |
|------------------|--------------------------|---------------------|-----------------------------|
| network          | 96, 256 features, 1024   | the same (`paper`); narrower, with batch norm     |
|                  | units, 73 classes        | for short trainings (`reduced`)                   |
| its input        | the patch                | the patch           | relative to local contrast  |
| training patches | 1.4 million of PASCAL VOC| of the dataset's sharp training images            |
| their detail     | as it is                 | as it is            | amplified, damped, added,   |
|                  |                          |                     | some of it directed; softer |
| orientations     | the six classes', exactly| the same            | up to 12 degrees off        |
| turned copies    | -24 to 24 degrees by 6*  | the same            | -12 to 12: each orientation |
|                  |                          |                     | once                        |
| shrunk copies    | none                     | none                | to a half and a third       |
| stride           | 6 px*                    | 6 px                | 8 px                        |
| fusion           | Gaussian-weighted mean*  | the same            | of logarithms, less where   |
|                  |                          |                     | no detail shows             |
| field            | random field, square of  | the same            | none: of each pixel the     |
|                  | neighbours' difference*  |                     | motion of least expected    |
|                  |                          |                     | error                       |
| result           | the deconvolved image    | the same            | the blurred one where       |
|                  |                          |                     | nothing moves or shows      |
| deconvolution    | EPLL, half-quadratic     | the same, in linear light, clipped values may be  |
|                  | splitting                | brighter than recorded                            |

From a public re-implementation and, with *, from memory of the paper: unverified.
"""
