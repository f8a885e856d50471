"""Files of loss curves: found columns, read rows."""
