/* module.c: what millrace_mpi.so shows to the library: one symbol.
 * The module has its own copy of what it uses of base/. One thing must not be a copy: the fault points, which a test
 * arms in the library. So mr__fault() is defined here, and asks the library; base's own fault.c is not linked. */
#include "comm_module.h"

#include "comm_mpi.h"

static bool (*library_fault)(enum mr__fault_point point);      /* set before the first point is reached */

bool mr__fault(enum mr__fault_point point)
{
    return library_fault(point);
}

static mr_status open_comm(bool (*fault)(enum mr__fault_point point), mr__comm **comm, mr__error *error)
{
    library_fault = fault;
    return mr__comm_mpi_begin(comm, error);
}

extern const mr__comm_module mr__module __attribute__((visibility("default")));

const mr__comm_module mr__module = {
    .magic = MR__COMM_MODULE_MAGIC,
    .version = MR__COMM_MODULE_VERSION,
    .open = open_comm,
    .check = mr__comm_mpi_rules,
};
