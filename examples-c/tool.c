/* See tool.h. */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

static const char *program = "esrpc";

/* --- Errors --- */

/* What a peer has sent may be quoted: control characters, which a terminal would obey, become spaces. */
static void say_in_front(const char *format, va_list arguments)
{
    char line[8192];
    vsnprintf(line, sizeof line, format, arguments);
    for (char *at = line; *at != '\0'; at++) {
        const unsigned char byte = (unsigned char)at[0], next = (unsigned char)at[1];
        /* The second set of control characters has two bytes in UTF-8. */
        if (byte == 0xc2 && next >= 0x80 && next < 0xa0) at[0] = at[1] = ' ';
        else if (json_is_control(byte) && byte < 0x80) at[0] = ' ';
    }
    fprintf(stderr, "%s: %s\n", program, line);
}

void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_in_front(format, arguments);
    va_end(arguments);
}

void say_status(const char *what, esrpc_status status, const char *sentence)
{
    if (sentence[0] == '\0') sentence = esrpc_status_message(status);
    const esrpc_bytes text = esrpc_text(sentence);
    const bool is_whole = starts_with(text, "cannot connect to ") || starts_with(text, "cannot listen on ");
    if (is_whole) say("%s (%s)", sentence, esrpc_status_name(status));
    else say("%s: %s (%s)", what, sentence, esrpc_status_name(status));
}

void usage_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_in_front(format, arguments);
    va_end(arguments);
    fprintf(stderr, "Run \"%s --help\" for all options.\n", program);
    exit(EXIT_USAGE);
}

bool is_bad_message(esrpc_status status)
{
    switch (status) {
    case ESRPC_ERROR_MESSAGE_TOO_LARGE:
    case ESRPC_ERROR_TOO_MANY_HEADERS:
    case ESRPC_ERROR_HEADERS_TOO_LARGE:
    case ESRPC_ERROR_HEADER_VALUE_TOO_LONG:
        return true;
    default:
        return exit_code_of(status, true) == EXIT_USAGE;
    }
}

int exit_code_of(esrpc_status status, bool connected)
{
    switch (status) {
    case ESRPC_OK:
        return EXIT_OK;
    case ESRPC_ERROR_HANDSHAKE_REFUSED:
        return EXIT_REFUSED;
    case ESRPC_ERROR_APPLICATION_ERROR:
        return EXIT_ERROR_REPLY;
    case ESRPC_ERROR_TIMED_OUT:
        return EXIT_TIMED_OUT;
    /* What the caller has given cannot be sent. */
    case ESRPC_ERROR_INVALID_ARGUMENT:
    case ESRPC_ERROR_HEADER_NAME_LENGTH:
    case ESRPC_ERROR_INVALID_UTF8:
    case ESRPC_ERROR_INVALID_UUID:
    case ESRPC_ERROR_RESERVED_HEADER:
    case ESRPC_ERROR_ADDRESS_INVALID:
    case ESRPC_ERROR_PATH_TOO_LONG:
    case ESRPC_ERROR_TLS_SERVER_NAME_REQUIRED:
        return EXIT_USAGE;
    default:
        break;
    }
    if (status >= ESRPC_ERROR_RESOLVE_TIMED_OUT && status <= ESRPC_ERROR_KEEP_ALIVE_TIMED_OUT) return EXIT_TIMED_OUT;
    if (status >= ESRPC_ERROR_TLS_CONFIG && status <= ESRPC_ERROR_TLS_CRL_EXPIRED) return EXIT_TLS;
    return connected ? EXIT_LOST : EXIT_CONNECT;
}

/* --- Memory --- */

void *reallocate(void *memory, size_t size)
{
    void *larger = realloc(memory, size > 0 ? size : 1);
    if (larger == NULL) {
        say("not enough memory: %zu bytes are needed at once", size);
        exit(EXIT_FAILED);
    }
    return larger;
}

void *allocate(size_t size)
{
    void *memory = reallocate(NULL, size);
    memset(memory, 0, size);
    return memory;
}

void text_reserve(struct text *text, size_t more)
{
    if (text->capacity - text->len >= more) return;
    size_t capacity = text->capacity < 256 ? 256 : text->capacity;
    while (capacity - text->len < more) {
        if (capacity > SIZE_MAX / 2) {
            say("not enough memory: a text is too long");
            exit(EXIT_FAILED);
        }
        capacity *= 2;
    }
    text->data = reallocate(text->data, capacity);
    text->capacity = capacity;
}

void text_add(struct text *text, const void *data, size_t len)
{
    text_reserve(text, len);
    if (len > 0) memcpy(text->data + text->len, data, len);
    text->len += len;
}

void text_print(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (len < 0) return;
    text_reserve(text, (size_t)len + 1);
    va_start(arguments, format);
    vsnprintf(text->data + text->len, (size_t)len + 1, format, arguments);
    va_end(arguments);
    text->len += (size_t)len;
}

void text_add_string(struct text *text, esrpc_bytes bytes)
{
    text_add(text, "\"", 1);
    /* In pieces, since json_escape may need six times the room. */
    while (bytes.len > 0) {
        size_t len = bytes.len < 4096 ? bytes.len : 4096;
        while (len < bytes.len && (bytes.data[len] & 0xc0) == 0x80) len++;
        text_reserve(text, 6 * len + 1);
        text->len += json_escape(bytes.data, len, text->data + text->len);
        bytes.data += len;
        bytes.len -= len;
    }
    text_add(text, "\"", 1);
}

/* --- Bytes --- */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void text_add_base64(struct text *text, esrpc_bytes bytes)
{
    text_reserve(text, bytes.len / 3 * 4 + 4);
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t count = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        if (count > 1) group |= (uint32_t)bytes.data[i + 1] << 8;
        if (count > 2) group |= bytes.data[i + 2];
        char *out = text->data + text->len;
        out[0] = base64_digits[group >> 18];
        out[1] = base64_digits[group >> 12 & 63];
        out[2] = count > 1 ? base64_digits[group >> 6 & 63] : '=';
        out[3] = count > 2 ? base64_digits[group & 63] : '=';
        text->len += 4;
    }
}

bool decode_base64(esrpc_bytes base64, struct text *out)
{
    if (base64.len % 4 != 0) return false;
    text_reserve(out, base64.len / 4 * 3);
    for (size_t i = 0; i < base64.len; i += 4) {
        uint32_t group = 0;
        size_t padding = 0;
        for (size_t j = 0; j < 4; j++) {
            uint8_t digit = base64.data[i + j];
            const char *found = digit == '\0' ? NULL : strchr(base64_digits, digit);
            if (digit == '=' && i + 4 == base64.len && j >= 2) padding++;
            else if (found == NULL || padding > 0) return false;
            group = group << 6 | (found != NULL ? (uint32_t)(found - base64_digits) : 0);
        }
        const uint8_t bytes[] = {(uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};
        text_add(out, bytes, 3 - padding);
    }
    return true;
}

bool is_utf8(esrpc_bytes bytes)
{
    struct json text = {bytes.data, bytes.data + bytes.len};
    while (text.at < text.end) {
        uint8_t lead = *text.at++;
        if (lead >= 0x80 && json_next_utf8(&text, lead) == JSON_INVALID) return false;
    }
    return true;
}

bool read_file(const char *path, struct text *out)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "rb");
    const char *name = is_stdin ? "standard input" : path;
    if (file == NULL) {
        say("cannot open %s: %s", name, strerror(errno));
        return false;
    }
    errno = 0;
    size_t len = 0;
    uint8_t *data = read_all(file, &len);
    bool good = data != NULL && !ferror(file);
    if (!good) say("cannot read %s: %s", name, data == NULL ? "there is not enough memory for it" : strerror(errno));
    if (good) text_add(out, data, len);
    free(data);
    if (!is_stdin) fclose(file);
    return good;
}

bool read_data(const char *option, const char *value, struct text *out)
{
    if (strcmp(value, "-") == 0) return read_file(value, out);
    if (value[0] == '@' && value[1] == '\0') usage_error("%s: the name of a file has to follow the @", option);
    if (value[0] == '@') return read_file(value + 1, out);
    text_add(out, value, strlen(value));
    return true;
}

bool write_output(const void *data, size_t len)
{
    errno = 0;
    if ((len == 0 || fwrite(data, 1, len, stdout) == len) && fflush(stdout) == 0) return true;
    if (errno != EPIPE) say("cannot write the output: %s", strerror(errno));
    return false;
}

/* --- The command line --- */

static void read_number(const struct option *option, const char *value)
{
    if (!parse_number(value, option->min, option->max, option->value))
        usage_error("%s takes a number from %lu to %lu, not \"%s\"", option->name, (unsigned long)option->min,
                    (unsigned long)option->max, value);
}

/* Seconds, with up to three decimals, or none. */
static void read_seconds(const struct option *option, const char *value)
{
    enum { MOST_SECONDS = 1000000 };
    char whole[16] = "";
    uint32_t seconds = 0, thousandths = 0, *out = option->value;
    size_t len = strcspn(value, ".");
    if (strcmp(value, "none") == 0) {
        *out = ESRPC_NO_TIMEOUT;
        return;
    }
    bool good = len < sizeof whole;
    if (good) memcpy(whole, value, len);
    good = good && parse_number(whole, 0, MOST_SECONDS, &seconds);
    if (good && value[len] == '.') {
        char decimals[4] = "000";
        size_t count = strlen(value + len + 1);
        good = count >= 1 && count <= 3;
        if (good) memcpy(decimals, value + len + 1, count);
        good = good && parse_number(decimals, 0, 999, &thousandths);
    }
    if (!good || seconds * 1000 + thousandths < option->min)
        usage_error("%s takes seconds, such as 2 or 0.5, or none, not \"%s\"", option->name, value);
    *out = seconds * 1000 + thousandths;
}

static void apply_option(const struct option *option, const char *value)
{
    struct list *list = option->value;
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)option->value = true;
        break;
    case OPTION_TEXT:
        *(const char **)option->value = value;
        break;
    case OPTION_NUMBER:
        read_number(option, value);
        break;
    case OPTION_SECONDS:
        read_seconds(option, value);
        break;
    case OPTION_LIST:
        list->items = reallocate(list->items, (list->count + 1) * sizeof *list->items);
        list->items[list->count++] = value;
        break;
    }
}

/* The option that `argument` names, alone or before an equals sign, behind which its value is. */
static const struct option *find_option(const struct command_line *line, const char *argument, const char **out_value)
{
    for (size_t i = 0; i < line->option_count; i++) {
        const struct option *option = &line->options[i];
        size_t len = strlen(option->name);
        if (strncmp(argument, option->name, len) != 0 || (argument[len] != '\0' && argument[len] != '=')) continue;
        *out_value = argument[len] == '=' ? argument + len + 1 : NULL;
        return option;
    }
    return NULL;
}

/* How many letters have to be added, removed or changed to make one word of the other. */
static size_t count_edits(const char *word, size_t len, const char *other)
{
    enum { LONGEST = 32 };
    size_t edits[LONGEST + 1];
    if (len > LONGEST) return SIZE_MAX;
    for (size_t i = 0; i <= len; i++) edits[i] = i;
    for (; *other != '\0'; other++) {
        size_t diagonal = edits[0]++;
        for (size_t i = 0; i < len; i++) {
            size_t least = diagonal + (word[i] != *other);
            if (edits[i] + 1 < least) least = edits[i] + 1;
            diagonal = edits[i + 1];
            edits[i + 1] = diagonal + 1 < least ? diagonal + 1 : least;
        }
    }
    return edits[len];
}

/* Whether two neighbours have changed places, the commonest mistake of all. */
static bool is_swap(const char *word, size_t len, const char *other)
{
    size_t at = 0;
    if (len != strlen(other)) return false;
    while (at < len && word[at] == other[at]) at++;
    return at + 1 < len && word[at] == other[at + 1] && word[at + 1] == other[at] &&
           strncmp(word + at + 2, other + at + 2, len - at - 2) == 0;
}

/* Whether one of the two options begins or ends as the other, as --connect and --connections, or --cert and --tls-cert. */
static bool is_part(const char *option, size_t len, const char *other, bool at_end)
{
    const size_t other_len = strlen(other), least = len < other_len ? len : other_len;
    if (least <= 3 || len == other_len) return false;
    if (!at_end) return strncmp(option, other, least) == 0;
    /* Behind the first of the two hyphens. */
    return strncmp(option + len - (least - 1), other + other_len - (least - 1), least - 1) == 0;
}

/* The option that may be meant by one that does not exist, NULL if none is similar. */
static const char *find_similar(const struct command_line *line, const char *argument)
{
    enum { OF_SAME_END = 2, OF_SAME_BEGINNING };
    const char *similar = NULL;
    const size_t len = strcspn(argument, "=");
    size_t least = OF_SAME_BEGINNING + 1;
    for (size_t i = 0; i < line->option_count; i++) {
        const char *name = line->options[i].name;
        size_t unlikeness = is_swap(argument, len, name) ? 1 : count_edits(argument, len, name);
        if (3 * unlikeness + 2 > len) unlikeness = SIZE_MAX;
        if (unlikeness > OF_SAME_BEGINNING && is_part(argument, len, name, false)) unlikeness = OF_SAME_BEGINNING;
        if (unlikeness > OF_SAME_END && is_part(argument, len, name, true)) unlikeness = OF_SAME_END;
        if (unlikeness >= least) continue;
        least = unlikeness;
        similar = name;
    }
    return similar;
}

/* Descriptors 0 to 2 that are closed would be given to sockets, which would then be taken for standard input and output. Here they
 * stay what cannot be read or written. */
static void occupy_standard_descriptors(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY};
    for (int i = 0; i < 3; i++)
        if (fcntl(i, F_GETFD) < 0 && open("/dev/null", modes[i]) < 0) exit(EXIT_FAILED);
}

const char *read_command_line(int argc, char **argv, const struct command_line *line)
{
    occupy_standard_descriptors();
    const char *operand = NULL;
    bool only_operands = false;
    program = line->program;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i], *value = NULL;
        if (only_operands || argument[0] != '-' || argument[1] == '\0') {
            if (operand != NULL)
                usage_error("one %s is enough: what is \"%s\"?%s", line->operand, argument, line->second_hint);
            operand = argument;
            continue;
        }
        if (strcmp(argument, "--") == 0) {
            only_operands = true;
            continue;
        }
        if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)
            exit(write_output(line->help, strlen(line->help)) ? EXIT_OK : EXIT_FAILED);
        if (strcmp(argument, "--version") == 0 || strcmp(argument, "-V") == 0) {
            struct text text = {NULL, 0, 0};
            const char *tls = esrpc_tls_get_provider();
            text_print(&text, "%s %s (TLS: %s)\n", program, esrpc_version(), tls[0] != '\0' ? tls : "none");
            bool written = write_output(text.data, text.len);
            free(text.data);
            exit(written ? EXIT_OK : EXIT_FAILED);
        }
        const struct option *option = find_option(line, argument, &value);
        if (option == NULL) {
            const char *similar = find_similar(line, argument);
            usage_error("there is no option %.*s%s%s%s", (int)strcspn(argument, "="), argument, similar != NULL ? ": did you mean " : "",
                        similar != NULL ? similar : "", similar != NULL ? "?" : "");
        }
        if (option->kind == OPTION_FLAG && value != NULL) usage_error("%s takes no value", option->name);
        if (option->kind != OPTION_FLAG && value == NULL) {
            value = argv[++i]; /* argv ends with a NULL */
            if (value == NULL) usage_error("%s needs a value after it", option->name);
        }
        apply_option(option, value);
    }
    return operand;
}

/* --- TLS --- */

int32_t last_alert(void)
{
    esrpc_error_info info = {.struct_size = sizeof info};
    return esrpc_last_error_get_info(&info) == ESRPC_OK ? info.tls_alert : -1;
}

static esrpc_status say_tls_file(const char *option, const char *file, esrpc_status status)
{
    struct text what = {NULL, 0, 0};
    text_print(&what, "cannot use %s%s%s", option, file[0] != '\0' ? " " : "", file);
    text_add(&what, "", 1);
    say_status(what.data, status, esrpc_last_error_message());
    free(what.data);
    return status;
}

esrpc_status make_tls_config(const struct tls_files *files, bool is_server, esrpc_tls_config **out_config)
{
    esrpc_status status = ESRPC_OK;
    *out_config = NULL;
    if (!files->is_on) return ESRPC_OK;
    esrpc_tls_config_builder *builder =
        is_server ? esrpc_tls_config_builder_new_server() : esrpc_tls_config_builder_new_client();
    if (files->ca != NULL) {
        status = esrpc_tls_config_builder_add_ca_file(builder, esrpc_text(files->ca));
        if (status != ESRPC_OK) say_tls_file(is_server ? "--client-ca" : "--ca", files->ca, status);
    }
    if (status == ESRPC_OK && is_server && files->ca != NULL)
        status = esrpc_tls_config_builder_set_client_auth(builder, ESRPC_TLS_CLIENT_AUTH_REQUIRED);
    if (status == ESRPC_OK && files->certificate != NULL) {
        status = esrpc_tls_config_builder_set_certificate_files(builder, esrpc_text(files->certificate),
                                                                esrpc_text(files->key));
        if (status != ESRPC_OK) say_tls_file("--cert and --key", "", status);
    }
    if (status == ESRPC_OK && files->alpn != NULL) {
        status = esrpc_tls_config_builder_add_alpn(builder, esrpc_text(files->alpn));
        if (status != ESRPC_OK) say_tls_file("--alpn", files->alpn, status);
    }
    if (status == ESRPC_OK && files->is_insecure)
        status = esrpc_tls_config_builder_dangerous_disable_verification(builder);
    if (status == ESRPC_OK) {
        status = esrpc_tls_config_builder_build(builder, out_config);
        if (status != ESRPC_OK) say_tls_file("TLS", "", status);
        if (status == ESRPC_ERROR_TLS_NO_CERTIFICATE && !is_server)
            say("give the CA of the server's certificate with --ca FILE, or install your system's CA certificates");
    }
    esrpc_tls_config_builder_release(builder);
    return status;
}

static const char *advise_client(esrpc_status status, int32_t alert, const struct tls_files *files)
{
    enum { BAD_CERTIFICATE = 42, CERTIFICATE_UNKNOWN = 46, UNKNOWN_CA = 48, UNRECOGNIZED_NAME = 112, REQUIRED = 116 };
    switch (status) {
    case ESRPC_ERROR_TLS_UNKNOWN_CA:
        return files->ca != NULL ? "--ca has to name the file with the certificate of the server's CA, or with the server's own if it "
                                   "is self-signed"
                                 : "only the system's CAs are trusted: for another CA or a self-signed certificate, pass that "
                                   "certificate with --ca FILE";
    case ESRPC_ERROR_TLS_WRONG_NAME:
        return "pass the name in the certificate with --server-name NAME, or have the server get a certificate for this name";
    case ESRPC_ERROR_TLS_SERVER_NAME_REQUIRED:
        return "pass the name in the server's certificate with --server-name NAME";
    case ESRPC_ERROR_TLS_CERTIFICATE_EXPIRED:
    case ESRPC_ERROR_TLS_CERTIFICATE_NOT_YET_VALID:
        return "look at the clock of this machine; if it is right, the server needs a new certificate";
    case ESRPC_ERROR_TLS_BAD_CERTIFICATE:
        return "the server needs another certificate; in tests on one machine, --insecure accepts any";
    case ESRPC_ERROR_TLS_NO_COMMON_ALPN:
        return "pass the server's protocol with --alpn NAME, or leave --alpn out";
    case ESRPC_ERROR_TLS_HANDSHAKE_FAILED:
    case ESRPC_ERROR_TLS_PEER_CLOSED:
        return "if the server does not use TLS at this port, leave out --tls and the other options of TLS";
    case ESRPC_ERROR_TLS_ALERT_RECEIVED:
        if (alert == UNRECOGNIZED_NAME) return "pass a name for which the server has a certificate with --server-name NAME";
        if (alert == REQUIRED || files->certificate == NULL)
            return "if the server requires a certificate of its clients, pass yours with --cert FILE and --key FILE";
        if (alert >= BAD_CERTIFICATE && (alert <= CERTIFICATE_UNKNOWN || alert == UNKNOWN_CA))
            return "pass a certificate that the server accepts with --cert FILE and --key FILE: one for clients (clientAuth) from "
                   "its client CA, valid today, and followed by those of intermediate CAs";
        return "";
    default:
        return "";
    }
}

static const char *advise_server(esrpc_status status, int32_t alert)
{
    enum { UNKNOWN_CA = 48 };
    switch (status) {
    case ESRPC_ERROR_TLS_UNKNOWN_CA:
        return "--client-ca has to name the file with the certificate of the CA that the client's comes from";
    case ESRPC_ERROR_TLS_CERTIFICATE_REQUIRED:
        return "the client has to present a certificate (esrpc-call: --cert and --key), or leave out --client-ca here";
    case ESRPC_ERROR_TLS_NO_COMMON_ALPN:
        return "give the client's protocol with --alpn NAME, or leave --alpn out";
    case ESRPC_ERROR_TLS_HANDSHAKE_FAILED:
        return "if the client does not use TLS, leave out --cert and --key here";
    case ESRPC_ERROR_TLS_ALERT_RECEIVED:
        return alert == UNKNOWN_CA ? "the client has to trust the CA of the certificate in --cert (esrpc-call: --ca FILE)" : "";
    default:
        return "";
    }
}

const char *advise_tls(esrpc_status status, int32_t alert, const struct tls_files *files, bool is_server)
{
    return is_server ? advise_server(status, alert) : advise_client(status, alert, files);
}
