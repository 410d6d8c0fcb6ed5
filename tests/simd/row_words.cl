/* row_words.cl: words of row.h in OpenCL C 1.2; row_opencl.sh compiles it for several lane counts. */
#include <millrace/row.h>

#if MR_LANES == 1
#define LOAD(from) (from)[get_global_id(0)]
#define STORE(to, value) (to)[get_global_id(0)] = (value)
#else
#define LOAD(from) MR__PASTE(vload, MR_LANES)(get_global_id(0), (from))
#define STORE(to, value) MR__PASTE(vstore, MR_LANES)((value), get_global_id(0), (to))
#endif

__kernel void row_words(__global const float *in, __global float *out, __global int *counts)
{
    mr_f32 x = LOAD(in);
    mr_f32 y = mr_exp_f32(x) + mr_log_f32(x) * mr_sqrt_f32(mr_abs_f32(x));
    mr_i32 small = mr_lt_f32(x, mr_splat_f32(2.0f));
    y = mr_sel_f32(small, y, mr_min_f32(x, 0.5f * y));
    mr_f64 wide = mr_f64_from_f32(y);
    wide = mr_sel_f64(mr_ge_f64(wide, mr_splat_f64(0.0)), mr_sqrt_f64(wide), mr_abs_f64(wide));
    STORE(out, mr_f32_from_f64(wide));
    STORE(counts, mr_sel_i32(small, mr_max_i32(mr_i32_from_f32(y), mr_splat_i32(1)), mr_i32_from_u8(mr_splat_u8(7))));
}
