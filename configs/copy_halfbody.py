"""The closed-form copy as a method: what the projection gives without learning anything."""

_base_ = ["./dualuv_halfbody.py"]

model = dict(decoder=dict(_delete_=True, type="CopyDecoder"), feedback=None)
