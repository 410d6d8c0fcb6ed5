/* test_comm_module.c: what is not the module is refused with a sentence, and nothing is opened. That the module works
 * is tested between ranks (test_mpi.py). */
#include "cmocka_all.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "comm_module.h"

static mr__comm *const untouched = (mr__comm *)&untouched;

static void assert_refused(const char *module, const char *sentence)
{
    mr__comm *comm = untouched;
    mr__error error = {.code = MR_OK};
    if (module != NULL)
        setenv("MILLRACE_MPI_MODULE", module, 1);
    else
        unsetenv("MILLRACE_MPI_MODULE");
    assert_int_equal(mr__comm_open_mpi(NULL, &comm, &error), MR_NETWORK_FAILED);
    assert_ptr_equal(comm, untouched);
    print_message("%s\n", error.text);
    assert_non_null(strstr(error.text, sentence));
}

static void test_what_is_not_the_module_is_refused(void **state)
{
    assert_refused(NULL, "this Millrace has no MPI");       /* none lies beside this test */
    assert_refused("/nowhere/mpi.so", "MILLRACE_MPI_MODULE names /nowhere/mpi.so, which cannot be read");
    assert_refused("/etc/hostname", "could not load MPI");
    assert_refused("libm.so.6", "cannot be read");
    assert_refused(OTHER_MODULE, "is not a module of Millrace");
    assert_refused(OLD_MODULE, "has version 4711 of the interface");
}

static void test_a_module_that_cannot_be_opened_is_a_sentence(void **state)
{
    mr__fault_arm(MR__FAULT_OPEN, 1);
    assert_refused(OLD_MODULE, "could not load MPI");
    assert_true(mr__fault_fired());
}

static void on_signal(int number)
{
}

static void test_handlers_are_as_before_whatever_a_module_does(void **state)
{
    struct sigaction now;
    signal(SIGBUS, on_signal);
    signal(SIGUSR1, SIG_DFL);
    assert_refused(OLD_MODULE, "version");      /* it takes SIGBUS and SIGHUP when it is loaded, as UCX does */
    assert_int_equal(sigaction(SIGBUS, NULL, &now), 0);
    assert_true(now.sa_handler == on_signal);
    assert_int_equal(sigaction(SIGHUP, NULL, &now), 0);
    assert_true(now.sa_handler == SIG_DFL);
    assert_int_equal(sigaction(SIGUSR1, NULL, &now), 0);
    assert_true(now.sa_handler == SIG_IGN);
    signal(SIGUSR1, on_signal);
    assert_refused(OLD_MODULE, "version");
    assert_int_equal(sigaction(SIGUSR1, NULL, &now), 0);
    assert_true(now.sa_handler == on_signal);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
}

static void test_what_the_user_set_stays(void **state)
{
    setenv("UCX_TCP_PUT_ENABLE", "y", 1);
    unsetenv("UCX_TLS");
    unsetenv("UCX_MEM_EVENTS");
    assert_refused(OLD_MODULE, "version");
    assert_string_equal(getenv("UCX_TCP_PUT_ENABLE"), "y");
    assert_string_equal(getenv("UCX_TLS"), "tcp,self");
    assert_string_equal(getenv("UCX_MEM_EVENTS"), "n");
    unsetenv("UCX_MEM_EVENTS");
    setenv("UCX_TLS", "rc,self", 1);
    assert_refused(OLD_MODULE, "version");
    assert_string_equal(getenv("UCX_TLS"), "rc,self");
    assert_null(getenv("UCX_MEM_EVENTS"));      /* RDMA's caches need them */
    unsetenv("HWLOC_COMPONENTS");
    assert_refused(OLD_MODULE, "version");
    assert_string_equal(getenv("HWLOC_COMPONENTS"), "-linux:pci");
    setenv("HWLOC_COMPONENTS", "-gl", 1);
    assert_refused(OLD_MODULE, "version");
    assert_string_equal(getenv("HWLOC_COMPONENTS"), "-gl");
    assert_string_equal(getenv("MPIR_CVAR_NOLOCAL"), "1");
    setenv("MPIR_CVAR_NOLOCAL", "0", 1);
    assert_refused(OLD_MODULE, "version");
    assert_string_equal(getenv("MPIR_CVAR_NOLOCAL"), "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* first: a module's constructor runs once */
        cmocka_unit_test(test_handlers_are_as_before_whatever_a_module_does),
        cmocka_unit_test(test_what_is_not_the_module_is_refused),
        cmocka_unit_test(test_a_module_that_cannot_be_opened_is_a_sentence),
        cmocka_unit_test(test_what_the_user_set_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
