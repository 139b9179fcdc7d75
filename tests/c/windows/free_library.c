/* FreeLibrary leaves the library where it is once it has started a thread: prints "0 1". free_library PATH-OF-THE-DLL */
#include <stdio.h>
#include <windows.h>

typedef int (*new_runtime)(const void *options, void **out_runtime);

int main(int argc, char **argv) {
    void *runtime = NULL;
    HMODULE library = argc == 2 ? LoadLibraryA(argv[1]) : NULL;
    if (library == NULL) return 2;
    FreeLibrary(library);
    BOOL is_there_before = GetModuleHandleA("eventstream_rpc.dll") != NULL;
    library = LoadLibraryA(argv[1]);
    new_runtime make = (new_runtime)(void (*)(void))GetProcAddress(library, "esrpc_runtime_new");
    if (make == NULL || make(NULL, &runtime) != 0) return 3;
    for (int i = 0; i < 3; i++) FreeLibrary(library);
    printf("%d %d\n", is_there_before, GetModuleHandleA("eventstream_rpc.dll") != NULL);
    return 0;
}
