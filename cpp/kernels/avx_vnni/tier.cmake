sigrun_tier(ORDER 15 PROCESSORS "x86_64|AMD64" FLAGS "-mavxvnni;-mavx2;-mfma;-mf16c")
