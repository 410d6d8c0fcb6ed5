/* kmeans_row.c: adds a point to the sums of its nearest centre; of equally near ones, to the first.
 *
 * Slots of a centre: the sum of each coordinate, then the number of points. With 2, 3 or 4 dimensions the point stays
 * in registers while the loop runs over the centres, because `dim` is a constant there. The body is a macro and no
 * function: on a device `params` lies in an address space that C has no word for. */
#define MR_ROW_BITS 32
#include <millrace/row.h>

#include "kmeans.h"

#define KMEANS_ASSIGN(dim, room)                                                                                       \
    do {                                                                                                               \
        mr_f32 point[(room) + 1];                                                                                      \
        mr_f32 best = mr_splat_f32(3.0e38f);                                                                           \
        mr_i32 nearest = mr_splat_i32(0);                                                                              \
        for (int c = 0; c < (dim); c++)                                                                                \
            point[c] = mr_column_f32(row, c);                                                                          \
        for (int k = 0; k < (int)params->k; k++) {                                                                     \
            mr_f32 d = point[0] - params->centre[k * (dim)];                                                           \
            mr_f32 distance = d * d;                                                                                   \
            for (int c = 1; c < (dim); c++) {                                                                          \
                d = point[c] - params->centre[k * (dim) + c];                                                          \
                distance = distance + d * d;                                                                           \
            }                                                                                                          \
            mr_i32 closer = mr_lt_f32(distance, best);                                                                 \
            best = mr_min_f32(distance, best);                                                                         \
            nearest = mr_sel_i32(closer, mr_splat_i32(k), nearest);                                                    \
        }                                                                                                              \
        point[(dim)] = mr_splat_f32(1.0f);                                                                             \
        mr_add_row_f32(out, nearest, (dim) + 1, point);                                                                \
    } while (0)

MR_ROW_KERNEL(kmeans_assign, struct kmeans_params)
{
    const int dim = (int)params->dim;
    switch (dim) {
    case 2:
        KMEANS_ASSIGN(2, 2);
        break;
    case 3:
        KMEANS_ASSIGN(3, 3);
        break;
    case 4:
        KMEANS_ASSIGN(4, 4);
        break;
    default:
        KMEANS_ASSIGN(dim, KMEANS_DIM_MAX);
    }
}
