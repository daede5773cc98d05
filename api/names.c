#include "api/names.h"

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool rb_name_valid(const char *name, size_t length)
{
    if (length < 1 || length > RB_NAME_MAX || !is_alnum(name[0]))
        return false;
    for (size_t i = 1; i < length; i++)
        if (!is_alnum(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
            return false;
    return true;
}

/* Each character of the shape stands for itself, but x: a hex digit, v: the variant. */
static bool fits(const char *shape, const char *id, size_t length)
{
    if (length != RB_JOB_ID_LENGTH)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool hex = (id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f');
        bool variant = id[i] == '8' || id[i] == '9' || id[i] == 'a' || id[i] == 'b';
        if (shape[i] == 'x' ? !hex : shape[i] == 'v' ? !variant : id[i] != shape[i])
            return false;
    }
    return true;
}

bool rb_job_id_valid(const char *id, size_t length)
{
    return fits("job_xxxxxxxx-xxxx-7xxx-vxxx-xxxxxxxxxxxx", id, length);
}

bool rb_group_id_valid(const char *id, size_t length)
{
    return fits("grp_xxxxxxxx-xxxx-7xxx-vxxx-xxxxxxxxxxxx", id, length);
}
