"""Where the Chromium is that pages are opened in: the one without windows if possible, which
starts sooner and draws nothing that a test does not look at.
"""

import shutil

CHROMIUM = (
    shutil.which("chromium-headless-shell") or shutil.which("chromium") or "/usr/bin/chromium"
)
