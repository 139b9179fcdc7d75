/* The scenarios of a program, and its command line: PROGRAM [SCENARIO] [--unix] [--tls]. Without a scenario, all of them run.
   Nothing here calls the library, since some programs load it themselves. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
};

/* An entry of a program's table. The driver (tests/c/main.rs) finds the scenarios of a program by this word. */
#define TEST(function) {#function, function}

/* Whether the scenarios talk over a Unix socket rather than TCP, and whether over TLS. */
static bool over_unix_socket, over_tls;

/* Ends the program unless the condition holds. */
#define REQUIRE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

/* A variable of the environment, which the driver sets. */
static inline const char *from_driver(const char *variable) {
    const char *value = getenv(variable);
    if (value == NULL) fprintf(stderr, "%s is not set: cargo test --test c sets it\n", variable);
    REQUIRE(value != NULL);
    return value;
}

/* Returns the scenario that is wanted, or NULL for all. */
static inline const char *read_command_line(int argc, char **argv) {
    const char *wanted = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--unix") == 0)
            over_unix_socket = true;
        else if (strcmp(argv[i], "--tls") == 0)
            over_tls = true;
        else
            wanted = argv[i];
    }
    return wanted;
}

/* Runs what the command line asks for; `before` and `after`, if not NULL, surround each scenario. */
static inline int run_scenarios(const struct test *tests, size_t count, int argc, char **argv, void (*before)(void),
                                void (*after)(void)) {
    const char *wanted = read_command_line(argc, argv);
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (wanted != NULL && strcmp(tests[i].name, wanted) != 0) continue;
        found++;
        fprintf(stderr, "%s\n", tests[i].name);
        if (before != NULL) before();
        tests[i].run();
        if (after != NULL) after();
    }
    if (found == 0) fprintf(stderr, "no scenario is named %s\n", wanted);
    return found == 0;
}

#endif
