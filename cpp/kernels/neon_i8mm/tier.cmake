sigrun_tier(ORDER 30 PROCESSORS "aarch64|arm64" FLAGS "-march=armv8.2-a+dotprod+i8mm")
