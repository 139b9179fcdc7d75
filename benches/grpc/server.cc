// Unary echo on gRPC's asynchronous interface: one completion queue, one thread.
extern "C" {
#include "options.h"
}
#include "echo.grpc.pb.h"

#include <csignal>
#include <cstdio>
#include <grpcpp/grpcpp.h>
#include <string>
#include <thread>
#include <unistd.h>

static bench::Echo::AsyncService service;
static std::unique_ptr<grpc::ServerCompletionQueue> queue;

struct Call {
    grpc::ServerContext context;
    bench::Payload payload;
    grpc::ServerAsyncResponseWriter<bench::Payload> writer{&context};
    bool answered = false;

    Call() { service.RequestCall(&context, &payload, &writer, queue.get(), queue.get(), this); }

    void proceed()
    {
        if (answered) {
            delete this;
            return;
        }
        new Call; // awaits the next one
        answered = true;
        writer.Finish(payload, grpc::Status::OK, this);
    }
};

int main(int argc, char **argv)
{
    options options;
    options_parse(&options, false, argc, argv);
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, nullptr);

    bool local = options.transport == TRANSPORT_UNIX;
    std::string address = local ? "unix:" + std::string(options.path) : "127.0.0.1:" + std::to_string(options.port);
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service);
    queue = builder.AddCompletionQueue();
    auto server = builder.BuildAndStart();
    if (!server)
        return 1;
    std::thread loop([] {
        for (int i = 0; i < 128; i++)
            new Call;
        void *tag;
        bool ok;
        while (queue->Next(&tag, &ok)) {
            if (ok)
                static_cast<Call *>(tag)->proceed();
            else
                delete static_cast<Call *>(tag);
        }
    });
    if (local)
        std::printf("READY %s\n", options.path);
    else
        std::printf("READY %d\n", port);
    std::fflush(stdout);
    int number;
    sigwait(&stop, &number);
    _exit(0);
}
