"""rasterio: GDAL's /vsis3/, with one image a key."""

import os

import numpy
import rasterio

import protocol

# boto3 is not installed here, so that rasterio leaves credentials to GDAL.
os.environ |= {
    "AWS_S3_ENDPOINT": protocol.ENDPOINT.partition("://")[2],
    "AWS_HTTPS": "NO",
    "AWS_VIRTUAL_HOSTING": "FALSE",
    "CPL_VSIL_USE_TEMP_FILE_FOR_RANDOM_WRITE": "YES",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "VSI_CACHE": "FALSE",
    "CPL_VSIL_CURL_NON_CACHED": "/vsis3/",
}
SHAPE = {"driver": "GTiff", "height": 1, "count": 1, "dtype": "uint8"}


class Rasterio:
    def write(self, bucket, key, text):
        pixels = numpy.frombuffer(text.encode(), dtype="uint8")
        with rasterio.open(f"/vsis3/{bucket}/{key}", "w", width=len(pixels), **SHAPE) as image:
            image.write(pixels.reshape(1, 1, -1))

    def read(self, bucket, key):
        with rasterio.open(f"/vsis3/{bucket}/{key}") as image:
            return image.read(1).tobytes().decode()


protocol.live(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}", Rasterio)
