/* Loads the library without being linked with it: loads PATH */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    const char *(*version)(void);
    if (library == NULL) return 1;
    *(void **)&version = dlsym(library, "esrpc_version");
    if (version == NULL) return 2;
    puts(version());
    return 0;
}
