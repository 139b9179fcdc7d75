/* Runs the scenario that is named, or prints the names of all. */
#include "check.hpp"

#include <cstring>

int main(int argc, char **argv) {
    if (argc == 2) {
        for (const scenario &found : scenarios()) {
            if (std::strcmp(found.name, argv[1]) != 0) continue;
            found.run();
            return 0;
        }
        std::fprintf(stderr, "there is no scenario %s\n", argv[1]);
        return 2;
    }
    for (const scenario &found : scenarios()) std::puts(found.name);
    return 0;
}
