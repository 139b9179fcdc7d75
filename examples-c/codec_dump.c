/* Prints each event-stream message of a file as a line of JSON.
 *
 * codec_dump [--whole] [--chunk N] FILE|-
 * Reads chunk by chunk (64 KiB, or N bytes) and needs memory for one message; with --whole it reads all first. Exits 1
 * at the first error, or if the input ends inside a message; the messages before it are printed. */
#include "common.h"

#include <errno.h>

#define USAGE \
    "[--whole] [--chunk N] FILE|-\n" \
    "Prints each event-stream message of a file as a line of JSON. Reads N bytes at once, or with --whole all."

struct options {
    bool whole;
    uint32_t chunk_size;
    const char *path;
};

/* Returns what is wrong with the command line, NULL if nothing is. */
static const char *parse_options(int argc, char **argv, struct options *out_options)
{
    struct options options = {false, 64 * 1024, NULL};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--whole") == 0) {
            options.whole = true;
        } else if (strcmp(argv[i], "--chunk") == 0) {
            i++; /* argv ends with a NULL */
            if (argv[i] == NULL || !parse_number(argv[i], 1, INT32_MAX, &options.chunk_size))
                return "--chunk takes a number of bytes after it, 1 or more";
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            return "the options are --whole and --chunk N";
        } else if (options.path != NULL) {
            return "it reads one file";
        } else {
            options.path = argv[i];
        }
    }
    *out_options = options;
    return options.path != NULL ? NULL : "it needs the name of a file, or - for standard input";
}

static esrpc_status print_message(const esrpc_message *message)
{
    esrpc_buffer *json = NULL;
    esrpc_status status = esrpc_message_to_json(message, &json);
    if (status == ESRPC_OK) {
        esrpc_bytes line = esrpc_buffer_get_bytes(json);
        fwrite(line.data, 1, line.len, stdout); /* main looks whether standard output took it */
        putchar('\n');
    }
    esrpc_buffer_release(json);
    return status;
}

/* Prints what the decoder has; then its error, if it came upon one. */
static esrpc_status print_messages(esrpc_decoder *decoder)
{
    const esrpc_message *message = NULL;
    esrpc_status status;
    while ((status = esrpc_decoder_next_message(decoder, &message)) == ESRPC_OK && message != NULL) {
        status = print_message(message);
        if (status != ESRPC_OK) break;
    }
    return status;
}

static esrpc_status dump_in_chunks(FILE *file, uint8_t *chunk, size_t chunk_size)
{
    esrpc_decoder *decoder = NULL;
    size_t len;
    esrpc_status status = esrpc_decoder_new(NULL, NULL, &decoder);
    while (status == ESRPC_OK && (len = fread(chunk, 1, chunk_size, file)) > 0) {
        const esrpc_bytes data = {chunk, len};
        esrpc_status pushed = esrpc_decoder_push(decoder, data);
        status = print_messages(decoder); /* also after a failed push: messages before the error are good */
        if (status == ESRPC_OK) status = pushed;
    }
    if (status == ESRPC_OK && !ferror(file)) status = esrpc_decoder_finish(decoder);
    if (status != ESRPC_OK) report("codec_dump", status, esrpc_last_error_message());
    esrpc_decoder_release(decoder);
    return status;
}

static esrpc_status dump_whole(const uint8_t *data, size_t len)
{
    esrpc_status status = ESRPC_OK;
    while (status == ESRPC_OK && len > 0) {
        esrpc_message *message = NULL;
        size_t used = 0;
        const esrpc_bytes rest = {data, len};
        status = esrpc_message_decode(rest, &message, &used);
        if (status == ESRPC_OK) status = print_message(message);
        if (status != ESRPC_OK) report("codec_dump", status, esrpc_last_error_message());
        esrpc_message_release(message);
        data += used;
        len -= used;
    }
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    esrpc_status status = ESRPC_OK;
    int exit_code = EXIT_FAILED;
    uint8_t *data = NULL;
    size_t len = 0;
    if (argc == 2 && is_help(argv[1])) return explain_usage("codec_dump", USAGE, "");
    const char *mistake = parse_options(argc, argv, &options);
    if (mistake != NULL) return explain_usage("codec_dump", USAGE, mistake);
    FILE *file = strcmp(options.path, "-") == 0 ? stdin : fopen(options.path, "rb");
    if (file == NULL) {
        fprintf(stderr, "codec_dump: %s: %s\n", options.path, strerror(errno));
        return EXIT_FAILED;
    }
    data = options.whole ? read_all(file, &len) : malloc(options.chunk_size);
    if (data == NULL) {
        fprintf(stderr, "codec_dump: %s: not enough memory\n", options.path);
        goto done;
    }
    if (!options.whole) status = dump_in_chunks(file, data, options.chunk_size);
    else if (!ferror(file)) status = dump_whole(data, len);
    if (ferror(file)) fprintf(stderr, "codec_dump: %s: cannot be read\n", options.path);
    else if (fflush(stdout) != 0 || ferror(stdout)) fprintf(stderr, "codec_dump: cannot write the output\n");
    else if (status == ESRPC_OK) exit_code = EXIT_OK;
done:
    free(data);
    if (file != stdin) fclose(file);
    return exit_code;
}
