sigrun_tier(ORDER 10 PROCESSORS "aarch64|arm64" FLAGS "")
