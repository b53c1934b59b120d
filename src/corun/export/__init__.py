"""Networks as files for other programs: ONNX, OpenVINO and torch.export, each checked."""

from corun.export.exporting import ExportReport, export_model

__all__ = ["ExportReport", "export_model"]
