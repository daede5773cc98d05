/* core/align/report.h: what the correlations of one group looked like. */
#ifndef RB_CORE_ALIGN_REPORT_H
#define RB_CORE_ALIGN_REPORT_H

#include "core/align/alignment.h"

/* correlation: (size, size) of the group, always the correlation whatever the similarity. Fills
 * group->mean_correlation and group->correlations (whose heat maps it allocates). RB_ENOMEM. */
enum rb_status rb_report_fill(struct rb_group *group, const float *correlation,
                              struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

#endif
