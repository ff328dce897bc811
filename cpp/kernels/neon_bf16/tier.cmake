sigrun_tier(ORDER 40 PROCESSORS "aarch64|arm64" FLAGS "-march=armv8.2-a+bf16")
