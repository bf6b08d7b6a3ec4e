"""A dataset in the formats that other training codes read.

    python -m gopro_tools.export DATASET --to lmdb -o OUT
    python -m gopro_tools.export verify OUT DATASET

===========  =====================================================================================
flat         ``{train,test}/{input,target}/<sequence>-<name>.png``: MPRNet, Restormer, NAFNet
crops        ``train/{blur_crops,sharp_crops}/<sequence>-<name>_s001.png``, cut as NAFNet, MPRNet
             and Restormer cut them; the test split stays whole, as in ``flat``
lmdb         BasicSR's databases of those crops: ``train/{blur_crops,sharp_crops}.lmdb`` and
             ``test/{input,target}.lmdb``, each with its ``meta_info.txt``
webdataset   ``train-000000.tar``, ...: ``<sequence>-<name>.{blurred.png,sharp.png,json}``
huggingface  a folder that ``datasets.load_dataset`` reads: ``{train,test}/metadata.jsonl`` with one
             line per pair, and a card
===========  =====================================================================================

A wrong database is expensive: it trains without an error and costs decibels. So an export can be
proven: ``verify`` decodes every image of it and compares its pixels with the dataset's.
"""

from gopro_tools.export.run import ExportResult, export, verify_export
from gopro_tools.export.samples import ExportConfig, Format, Sample

__all__ = ["ExportConfig", "ExportResult", "Format", "Sample", "export", "verify_export"]
