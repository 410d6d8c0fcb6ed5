/* linelength.cl: the map of linelength.c on a device. */
#include <millrace/text_opencl.h>

#include "linelength.h"

MR_TEXT_KERNEL(linelength, struct linelength_params)
{
    mr_each_line(text, line)
        if (line.size >= params->least)
            mr_add_dense(out, line.size < LENGTHS ? line.size : LENGTHS - 1, 1);
}
