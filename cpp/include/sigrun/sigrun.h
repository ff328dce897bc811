#pragma once

// The whole public C++ interface.
#include "sigrun/custom_op.h"
#include "sigrun/interpreter.h"
#include "sigrun/plan_report.h"
#include "sigrun/profile.h"
#include "sigrun/status.h"
#include "sigrun/types.h"
#include "sigrun/warning.h"
