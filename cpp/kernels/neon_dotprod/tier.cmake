sigrun_tier(ORDER 20 PROCESSORS "aarch64|arm64" FLAGS "-march=armv8.2-a+dotprod")
