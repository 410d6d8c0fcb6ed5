#include "device_slot.h"
const mr__device_work mr__device_texts = {0};
