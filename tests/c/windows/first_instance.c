/* Only one server may have a pipe. Windows says no to the second (1 0 5); Wine 8 does not (1 1 0). */
#include <stdio.h>
#include <windows.h>

int main(void) {
    const char *name = "\\\\.\\pipe\\esrpc-first-instance";
    DWORD mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE;
    HANDLE first = CreateNamedPipeA(name, mode, PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES, 4096, 4096, 0, NULL);
    HANDLE second = CreateNamedPipeA(name, mode, PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES, 4096, 4096, 0, NULL);
    DWORD error = second == INVALID_HANDLE_VALUE ? GetLastError() : 0;
    printf("%d %d %lu\n", first != INVALID_HANDLE_VALUE, second != INVALID_HANDLE_VALUE, error);
    return 0;
}
