"""Levenberg-Marquardt for residuals of any form."""
