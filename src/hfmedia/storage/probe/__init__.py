"""Media probing: format signatures, and the structure of containers and images, to detect truncated files.

Rare formats (BMP, TIFF, AVI, HEIC, old QuickTime) are covered too: dropping them would lose checks that tests hold.
"""
