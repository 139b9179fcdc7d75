/* In posix.h, which the test driver includes before everything else. */
