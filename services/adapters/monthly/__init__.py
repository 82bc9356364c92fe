"""The monthly report (月报): read from the database, written as PDF and as a workbook."""
