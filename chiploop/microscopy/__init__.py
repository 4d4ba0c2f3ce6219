"""Images of tissue to measures: junctions, nuclei, thickness of the epidermis.

Belongs here: reading TIFF, segmentation, measures, images of known truth. Not here: what a measure means
for a chip (assays.microscopy), figures (report.image_figure). scikit-image and tifffile are imported by
these modules alone.
"""
