"""What the report of ``compress`` is called, known without loading what makes one."""

REPORT_NAME = "report.json"
