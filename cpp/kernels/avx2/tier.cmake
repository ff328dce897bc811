sigrun_tier(ORDER 10 PROCESSORS "x86_64|AMD64" FLAGS "-mavx2;-mfma;-mf16c")
