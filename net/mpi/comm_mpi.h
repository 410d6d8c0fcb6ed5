/* comm_mpi.h: MPICH as a backend of comm.h, inside the module millrace_mpi.so. See comm_module.h for what it promises.
 * */
#ifndef MR__COMM_MPI_H
#define MR__COMM_MPI_H

#include "comm.h"

mr_status mr__comm_mpi_begin(mr__comm **comm, mr__error *error);
mr_status mr__comm_mpi_rules(const mr__comm *comm, mr__error *error);

#endif
