"""What every row is in ONNX: one function a row, and the reasons why some have none."""
