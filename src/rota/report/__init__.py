"""What people look at: the comparison table, charts, Gantt charts, and one self-contained HTML page."""
