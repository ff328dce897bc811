sigrun_tier(ORDER 0 PROCESSORS "." FLAGS "")
