"""Sun, Cao, Xu and Ponce, CVPR 2015: the motion of each patch from a CNN, undone by deconvolution.

A CNN tells which of 73 straight motions blurred a 30x30 patch; turned copies of the image extend
them to 361; a Markov random field makes one motion field of all patches, and the image is
deconvolved by it under a patch prior (EPLL).

| point            | paper                      | here                                            |
|------------------|----------------------------|-------------------------------------------------|
| network          | 96, 256 features, 1024     | the same (`paper`); narrower and normalised by  |
|                  | units, 73 classes          | batch for short trainings (`reduced`)           |
| what it sees     | the patch                  | the patch against its surroundings' contrast    |
|                  |                            | (`patches.normalised`)                          |
| training patches | 1.4 million of PASCAL VOC* | any sharp photographs; detail amplified, damped |
|                  |                            | and added, some of it as directed as hair, and  |
|                  |                            | some pieces soft: none of it is motion          |
| orientations     | the six classes', exactly* | up to 12 degrees off, shared by the two classes |
| learned          |                            | next to them                                    |
| turned copies    | -24 to 24 degrees by 6*    | -12 to 12: each of the 30 orientations once     |
| shrunk copies    | none                       | to a half and a third as well: long motions are |
|                  |                            | short ones there (`sizes=(1.0,)` for none)      |
| fusion           | Gaussian-weighted mean*    | the same of logarithms (`fusion="mean"` for     |
|                  |                            | the paper's)                                    |
| field, one cell  | less its confidence        | the same, less where nothing is to be seen      |
|                  |                            | (`flat_weight=1` for the paper's)               |
| field, neighbours| square of the difference   | up to 10 px (`largest_difference_px=None`)      |
| deconvolution    | EPLL, half-quadratic       | the same, in linear light, clipped values       |
|                  | splitting                  | brighter than recorded; or sparse gradients     |
| motion undone    | the field                  | that of least expected error: doubt speaks for  |
|                  |                            | shorter ones (`undo="likeliest"`)               |
| result           | the deconvolved image      | the blurred one where nothing moves, or where   |
|                  |                            | no fine detail is left to tell motion by        |

From a public re-implementation and, with *, from memory of the paper: unverified.
"""
