#include "core/model/linear.h"

#include <cblas.h>

void rb_linear(const float *x, size_t rows, size_t in, const float *w, size_t out, float *y)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)out, (int)in, 1.0f, x,
                (int)in, w, (int)in, 0.0f, y, (int)out);
}
