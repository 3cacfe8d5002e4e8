/* A stand-in for libnvidia-ml.so.1: answers from a file that the test maps and edits while we run.
 *
 * The file's path is in THERMOGRAD_FAKE_NVML; without it there is "no driver". The layout of struct state
 * is mirrored in fake_nvml.py. Compiled with -DOLD_DRIVER the newer functions do not exist.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { GPUS = 8, FIELDS = 24, CALLS = 24, EVENTS = 8, TEXT = 96 };
enum { INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, LOST = 15 };
enum { /* the order of CALLS in fake_nvml.py */
    UTILIZATION, CLOCK, MEMORY, ENFORCED_LIMIT, REASONS, MARGIN, TEMPERATURE, POWER_USAGE, ENERGY, FAN,
    ECC, REPLAYS, FIELD_VALUES, THRESHOLD, MAX_CLOCK, DEFAULT_LIMIT, CONSTRAINTS, CAPABILITY, MIG, EVENT_REGISTER,
    LIMIT, SET_LIMIT
};

struct field { uint32_t id, type, result, unused; double number; uint64_t whole; };
struct gpu {
    char uuid[TEXT], name[TEXT], mig_uuid[TEXT];
    uint32_t lost, delay_us, utilization, sm_clock, memory_clock, enforced_limit_mw, temperature, power_usage_mw;
    uint32_t fan, replays, default_limit_mw, capability_major, capability_minor, mig, max_clock, limit_mw;
    int32_t margin, padding;
    uint64_t memory_used, reasons, energy_mj, ecc[2];
    uint32_t thresholds[4];
    uint32_t results[CALLS];
    uint32_t counts[CALLS];
    struct field fields[FIELDS];
};
struct event { uint32_t gpu, unused; uint64_t xid; };
struct state {
    uint32_t init_result, count;
    uint64_t events_written;
    struct event events[EVENTS];
    char driver[TEXT], nvml[TEXT];
    struct gpu gpus[GPUS];
};

static struct state *state;
static uint64_t events_read;

int nvmlInitWithFlags(unsigned flags) {
    const char *path = getenv("THERMOGRAD_FAKE_NVML");
    (void)flags;
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0) return DRIVER_NOT_LOADED;
    void *map = mmap(0, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (map == MAP_FAILED) return DRIVER_NOT_LOADED;
    state = map;
    events_read = state->events_written;
    return state->init_result;
}
int nvmlShutdown(void) { return 0; }
unsigned long long fake_state_size(void) { return sizeof(struct state); }

static int ask(struct gpu *gpu, int call) {
    __sync_fetch_and_add(&gpu->counts[call], 1);
    if (gpu->delay_us) usleep(gpu->delay_us);
    return gpu->lost ? LOST : (int)gpu->results[call];
}
static int give(char *to, unsigned size, const char *text) { strncpy(to, text, size - 1); to[size - 1] = 0; return 0; }

int nvmlSystemGetDriverVersion(char *to, unsigned size) { return give(to, size, state->driver); }
int nvmlSystemGetNVMLVersion(char *to, unsigned size) { return give(to, size, state->nvml); }
const char *nvmlErrorString(int code) { (void)code; return "an error that the stand-in does not name"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = state->count; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, struct gpu **gpu) {
    if (i >= state->count) return NOT_FOUND;
    *gpu = &state->gpus[i];
    return (*gpu)->lost ? LOST : 0;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) { /* a MIG part is its GPU's address plus one */
    for (unsigned i = 0; i < state->count; i++) {
        if (!strcmp(uuid, state->gpus[i].uuid)) { *device = &state->gpus[i]; return 0; }
        if (*uuid && !strcmp(uuid, state->gpus[i].mig_uuid)) { *device = (char *)&state->gpus[i] + 1; return 0; }
    }
    return NOT_FOUND;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(char *part, void **device) { *device = part - 1; return 0; }
int nvmlDeviceGetUUID(struct gpu *gpu, char *to, unsigned size) {
    return gpu->lost ? LOST : give(to, size, gpu->uuid);
}
int nvmlDeviceGetIndex(struct gpu *gpu, unsigned *to) { *to = (unsigned)(gpu - state->gpus); return 0; }
int nvmlDeviceGetName(struct gpu *gpu, char *to, unsigned size) { return give(to, size, gpu->name); }

int nvmlDeviceGetUtilizationRates(struct gpu *gpu, unsigned to[2]) {
    to[0] = gpu->utilization; to[1] = 0; return ask(gpu, UTILIZATION);
}
int nvmlDeviceGetClockInfo(struct gpu *gpu, unsigned type, unsigned *to) {
    *to = type == 2 ? gpu->memory_clock : gpu->sm_clock; return ask(gpu, CLOCK);
}
int nvmlDeviceGetMaxClockInfo(struct gpu *gpu, unsigned type, unsigned *to) {
    (void)type; *to = gpu->max_clock; return ask(gpu, MAX_CLOCK);
}
int nvmlDeviceGetMemoryInfo(struct gpu *gpu, unsigned long long to[3]) {
    to[0] = 80ULL << 30; to[2] = gpu->memory_used; to[1] = to[0] - to[2]; return ask(gpu, MEMORY);
}
int nvmlDeviceGetEnforcedPowerLimit(struct gpu *gpu, unsigned *to) {
    *to = gpu->enforced_limit_mw; return ask(gpu, ENFORCED_LIMIT);
}
int nvmlDeviceGetPowerManagementDefaultLimit(struct gpu *gpu, unsigned *to) {
    *to = gpu->default_limit_mw; return ask(gpu, DEFAULT_LIMIT);
}
int nvmlDeviceGetPowerManagementLimitConstraints(struct gpu *gpu, unsigned *least, unsigned *most) {
    *least = 100000; *most = gpu->default_limit_mw; return ask(gpu, CONSTRAINTS);
}
int nvmlDeviceGetPowerManagementLimit(struct gpu *gpu, unsigned *to) { *to = gpu->limit_mw; return ask(gpu, LIMIT); }
int nvmlDeviceSetPowerManagementLimit(struct gpu *gpu, unsigned limit_mw) { /* it stays when its process is gone */
    int result = ask(gpu, SET_LIMIT);
    if (result) return result;
    if (limit_mw < 100000 || limit_mw > gpu->default_limit_mw) return INVALID;
    gpu->limit_mw = gpu->enforced_limit_mw = limit_mw;
    return 0;
}
int nvmlDeviceGetCudaComputeCapability(struct gpu *gpu, int *major, int *minor) {
    *major = gpu->capability_major; *minor = gpu->capability_minor; return ask(gpu, CAPABILITY);
}
int nvmlDeviceGetMigMode(struct gpu *gpu, unsigned *now, unsigned *next) { *now = *next = gpu->mig; return ask(gpu, MIG); }
int nvmlDeviceGetPowerUsage(struct gpu *gpu, unsigned *to) { *to = gpu->power_usage_mw; return ask(gpu, POWER_USAGE); }
int nvmlDeviceGetTotalEnergyConsumption(struct gpu *gpu, unsigned long long *to) {
    *to = gpu->energy_mj; return ask(gpu, ENERGY);
}
int nvmlDeviceGetFanSpeed(struct gpu *gpu, unsigned *to) { *to = gpu->fan; return ask(gpu, FAN); }
int nvmlDeviceGetTotalEccErrors(struct gpu *gpu, unsigned type, unsigned counter, unsigned long long *to) {
    (void)counter; *to = gpu->ecc[type & 1]; return ask(gpu, ECC);
}
int nvmlDeviceGetPcieReplayCounter(struct gpu *gpu, unsigned *to) { *to = gpu->replays; return ask(gpu, REPLAYS); }
int nvmlDeviceGetTemperature(struct gpu *gpu, unsigned sensor, unsigned *to) {
    (void)sensor; *to = gpu->temperature; return ask(gpu, TEMPERATURE);
}
int nvmlDeviceGetTemperatureThreshold(struct gpu *gpu, unsigned which, unsigned *to) {
    *to = gpu->thresholds[which & 3]; return *to ? ask(gpu, THRESHOLD) : NOT_SUPPORTED;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(struct gpu *gpu, unsigned long long *to) {
    *to = gpu->reasons; return ask(gpu, REASONS);
}
#ifndef OLD_DRIVER
int nvmlDeviceGetCurrentClocksEventReasons(struct gpu *gpu, unsigned long long *to) {
    return nvmlDeviceGetCurrentClocksThrottleReasons(gpu, to);
}
int nvmlDeviceGetTemperatureV(struct gpu *gpu, int32_t to[3]) { to[2] = gpu->temperature; return ask(gpu, TEMPERATURE); }
int nvmlDeviceGetMarginTemperature(struct gpu *gpu, int32_t to[2]) { to[1] = gpu->margin; return ask(gpu, MARGIN); }
#endif

struct value { /* nvmlFieldValue_t */
    uint32_t id, scope; int64_t timestamp, latency_us; uint32_t type, result;
    union { double number; unsigned u32; unsigned long long u64; } is;
};
int nvmlDeviceGetFieldValues(struct gpu *gpu, int count, struct value *to) {
    int result = ask(gpu, FIELD_VALUES);
    for (int i = 0; !result && i < count; i++) {
        to[i].result = NOT_SUPPORTED;
        to[i].latency_us = 7;
        for (int j = 0; j < FIELDS; j++) {
            struct field *field = &gpu->fields[j];
            if (!field->id || field->id != to[i].id) continue;
            to[i].type = field->type;
            to[i].result = field->result;
            if (field->type == 0) to[i].is.number = field->number;
            else if (field->type == 1) to[i].is.u32 = (unsigned)field->whole;
            else to[i].is.u64 = field->whole;
        }
    }
    return result;
}

int nvmlEventSetCreate(void **set) { *set = &events_read; return 0; }
int nvmlEventSetFree(void *set) { (void)set; return 0; }
int nvmlDeviceRegisterEvents(struct gpu *gpu, unsigned long long types, void *set) {
    (void)types; (void)set; return ask(gpu, EVENT_REGISTER);
}
struct event_data { struct gpu *device; unsigned long long type, data; unsigned instance, compute; };
int nvmlEventSetWait_v2(void *set, struct event_data *to, unsigned timeout_ms) {
    struct timespec a_moment = {0, 20000000};
    (void)set;
    for (unsigned waited_ms = 0; events_read >= state->events_written; waited_ms += 20) {
        if (waited_ms >= timeout_ms) return TIMEOUT;
        nanosleep(&a_moment, 0);
    }
    struct event *event = &state->events[events_read++ % EVENTS];
    to->device = &state->gpus[event->gpu];
    to->type = 8;
    to->data = event->xid;
    return 0;
}
