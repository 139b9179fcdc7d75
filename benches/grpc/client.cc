// The unary workloads on gRPC's asynchronous interface: one channel, one completion queue, one thread.
extern "C" {
#include "measure.h"
#include "options.h"
}
#include "echo.grpc.pb.h"

#include <cstring>
#include <grpcpp/grpcpp.h>
#include <string>
#include <vector>

static std::unique_ptr<bench::Echo::Stub> stub;
static grpc::CompletionQueue queue;
static bench::Payload payload;

struct Call {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<bench::Payload>> reader;
    bench::Payload answer;
    grpc::Status status;
    uint64_t begun_at;

    void begin()
    {
        begun_at = now_ns();
        context.reset(new grpc::ClientContext);
        reader = stub->AsyncCall(context.get(), payload, &queue);
        reader->Finish(&answer, &status, this);
    }
};

int main(int argc, char **argv)
{
    options options;
    options_parse(&options, true, argc, argv);
    bool alone = std::strcmp(options.workload, "unary_seq") == 0;
    if (!alone && std::strcmp(options.workload, "unary_p64") != 0)
        die("gRPC is measured with calls only");
    std::string address = options.transport == TRANSPORT_UNIX ? "unix:" + std::string(options.path)
                                                              : "127.0.0.1:" + std::to_string(options.port);
    stub = bench::Echo::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    payload.set_data(std::string(options.size, 'x'));

    std::vector<Call> calls(alone ? 1 : 64);
    latencies times;
    latencies_new(&times, 1u << 20);
    rate counted;
    rate_begin(&counted, &options);
    for (Call &call : calls)
        call.begin();
    size_t outstanding = calls.size();
    void *tag;
    bool ok;
    while (outstanding && queue.Next(&tag, &ok)) {
        Call *call = static_cast<Call *>(tag);
        if (!ok || !call->status.ok() || call->answer.data().size() != options.size)
            die("a call failed");
        if (alone && counted.state == rate::RATE_MEASURING)
            latencies_add(&times, now_ns() - call->begun_at);
        if (rate_add(&counted, 1))
            call->begin();
        else
            outstanding--;
    }
    rate_print(&counted, alone ? 0 : options.size, "call/s");
    if (alone)
        latencies_print(&times);
    return 0;
}
