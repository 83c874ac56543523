/* An NVML that plays a waveform: what the tests put below NVIDIA's real Python binding where there is no GPU.
 *
 * Rule 1: everything it says comes from one file, mapped into memory here and in the test that writes it
 * (`played_nvml.py` has the same structures), so that a test changes a card while it is being read. Rule 2: it answers as
 * the driver does, by NVML's own return codes, and what fails leaves its output as it was.
 *
 * A card's figures are renewed every `update_us` (at `phase_us`), and speak of the moment `latency_us` before that: the
 * instant power is the mean of the `window_us` before it, the average power that of `average_us`, and the counter the
 * energy until then. `gain` and `counter_gain` are the card's errors.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, NOT_LOADED = 9 };
enum { ENERGY = 83, AVERAGE = 185, INSTANT = 186 };
enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3 };
enum { GPUS = 4, STEPS = 4096, PROCESSES = 8 };

/* Whose return code a test may set, and whose calls are counted. The order is that of `CALLS` in played_nvml.py. */
enum { FIELDS, USAGE, UTILISATION, MEMORY, TEMPERATURE, FAN, LIMIT, PCI, ARCHITECTURE, RUNNING, SHARES, CALLS };

typedef struct { int64_t at_us, power_mw; } Step;
typedef struct { int64_t pid, memory_b, busy_pct, graphics; } Process;

typedef struct {
    char uuid[96], name[96], bus_id[32];
    int64_t architecture, lost;
    int64_t code[CALLS], calls[CALLS], field_code[3];
    int64_t update_us, phase_us, latency_us, window_us, average_us;
    double gain, counter_gain;
    int64_t counter_start_mj;
    int64_t limit_mw, memory_total_b, memory_used_b, busy_pct, temperature_c, fan_pct;
    int64_t processes;
    Process process[PROCESSES];
    int64_t steps;
    Step step[STEPS];
} Gpu;

typedef struct {
    int64_t init_code, users, now_us, epoch_us, gpus;
    Gpu gpu[GPUS];
} Stage;

static Stage *stage;

int64_t played_nvml_size(void) { return sizeof(Stage); }

int played_nvml_open(const char *path) {
    int file = open(path, O_RDWR);
    if (file < 0) return NOT_LOADED;
    void *memory = mmap(NULL, sizeof(Stage), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) return NOT_LOADED;
    if (stage) munmap(stage, sizeof(Stage));
    stage = memory;
    return OK;
}

/* Microseconds since the waveform's beginning: the test's own clock, or the machine's. */
static int64_t now_us(void) {
    if (stage->now_us) return stage->now_us;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000 - stage->epoch_us;
}

/* Energy until `t` in nanojoules; before its first step a card draws what that step says. */
static double energy_nj(const Gpu *gpu, int64_t t) {
    if (gpu->steps == 0) return 0;
    if (t < gpu->step[0].at_us) return (double)gpu->step[0].power_mw * (t - gpu->step[0].at_us);
    double energy = 0;
    for (int64_t i = 0; i < gpu->steps; i++) {
        int64_t begin = gpu->step[i].at_us;
        int64_t end = i + 1 < gpu->steps && gpu->step[i + 1].at_us < t ? gpu->step[i + 1].at_us : t;
        if (begin >= t) break;
        energy += (double)gpu->step[i].power_mw * (end - begin);
    }
    return energy;
}

static double mean_mw(const Gpu *gpu, int64_t end, int64_t window) {
    if (window < 1) window = 1;
    return gpu->gain * (energy_nj(gpu, end) - energy_nj(gpu, end - window)) / window;
}

/* The moment that what the card shows now speaks of. */
static int64_t shown_us(const Gpu *gpu) {
    int64_t since = now_us() - gpu->phase_us, period = gpu->update_us > 0 ? gpu->update_us : 1;
    int64_t renewed = since / period * period;
    if (renewed > since) renewed -= period;
    return renewed + gpu->phase_us - gpu->latency_us;
}

static int entered(Gpu *gpu, int call) {
    if (!stage || stage->users < 1) return UNINITIALIZED;
    gpu->calls[call]++;
    return gpu->lost ? (int)gpu->lost : (int)gpu->code[call];
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    const char *path = getenv("PLAYED_NVML");
    if (!stage && (!path || played_nvml_open(path))) return NOT_LOADED;
    if (stage->init_code) return (int)stage->init_code;
    stage->users++;
    return OK;
}

int nvmlShutdown(void) {
    if (!stage || stage->users < 1) return UNINITIALIZED;
    stage->users--;
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!stage || stage->users < 1) return UNINITIALIZED;
    *count = (unsigned)stage->gpus;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **device) {
    if (!stage || stage->users < 1) return UNINITIALIZED;
    if (index >= stage->gpus) return INVALID;
    *device = &stage->gpu[index];
    return (int)stage->gpu[index].lost;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **device) {
    if (!stage || stage->users < 1) return UNINITIALIZED;
    for (int64_t i = 0; i < stage->gpus; i++)
        if (!strcmp(stage->gpu[i].uuid, uuid)) {
            *device = &stage->gpu[i];
            return (int)stage->gpu[i].lost;
        }
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(Gpu *gpu, char *text, unsigned size) { strncpy(text, gpu->uuid, size); return OK; }
int nvmlDeviceGetName(Gpu *gpu, char *text, unsigned size) { strncpy(text, gpu->name, size); return OK; }

#define ANSWER(call, ...) { int code = entered(gpu, call); if (code) return code; __VA_ARGS__; return OK; }

int nvmlDeviceGetPowerUsage(Gpu *gpu, unsigned *mw)
    ANSWER(USAGE, *mw = (unsigned)mean_mw(gpu, shown_us(gpu), gpu->architecture >= 7 ? gpu->average_us : gpu->window_us))
int nvmlDeviceGetTemperature(Gpu *gpu, unsigned sensor, unsigned *c)
    ANSWER(TEMPERATURE, (void)sensor; *c = (unsigned)gpu->temperature_c)
int nvmlDeviceGetFanSpeed(Gpu *gpu, unsigned *pct) ANSWER(FAN, *pct = (unsigned)gpu->fan_pct)
int nvmlDeviceGetEnforcedPowerLimit(Gpu *gpu, unsigned *mw) ANSWER(LIMIT, *mw = (unsigned)gpu->limit_mw)
int nvmlDeviceGetArchitecture(Gpu *gpu, unsigned *a) ANSWER(ARCHITECTURE, *a = (unsigned)gpu->architecture)

typedef struct { unsigned gpu, memory; } Rates;
int nvmlDeviceGetUtilizationRates(Gpu *gpu, Rates *rates)
    ANSWER(UTILISATION, rates->gpu = (unsigned)gpu->busy_pct; rates->memory = 0)

typedef struct { unsigned long long total, free, used; } Memory;
int nvmlDeviceGetMemoryInfo(Gpu *gpu, Memory *memory)
    ANSWER(MEMORY, memory->total = gpu->memory_total_b; memory->used = gpu->memory_used_b;
           memory->free = memory->total - memory->used)

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
int nvmlDeviceGetPciInfo_v3(Gpu *gpu, Pci *pci) ANSWER(PCI, strncpy(pci->bus_id, gpu->bus_id, 32))

typedef union { double d; unsigned ui; unsigned long long ull; } Value;
typedef struct { uint32_t field, scope; int64_t at_us, latency_us; uint32_t type, code; Value value; } Field;

int nvmlDeviceGetFieldValues(Gpu *gpu, int count, Field *fields) {
    int code = entered(gpu, FIELDS);
    if (code) return code;
    int64_t t = shown_us(gpu);
    for (int i = 0; i < count; i++) {
        Field *field = &fields[i];
        int which = field->field == ENERGY ? 0 : field->field == INSTANT ? 1 : field->field == AVERAGE ? 2 : -1;
        field->at_us = now_us();
        field->latency_us = 20;
        field->code = which < 0 ? (uint32_t)NOT_SUPPORTED : (uint32_t)gpu->field_code[which];
        if (field->code) continue;
        field->type = which == 0 ? UNSIGNED_LONG_LONG : UNSIGNED_INT;
        if (which == 0)
            field->value.ull = (unsigned long long)(gpu->counter_start_mj + gpu->counter_gain * energy_nj(gpu, t) / 1e6);
        else
            field->value.ui = (unsigned)mean_mw(gpu, t, which == 1 ? gpu->window_us : gpu->average_us);
    }
    return OK;
}

typedef struct { unsigned pid; unsigned long long memory_b; unsigned instance, compute; } Running;

static int running(Gpu *gpu, unsigned *count, Running *out, int64_t graphics) {
    int code = entered(gpu, RUNNING);
    if (code) return code;
    unsigned found = 0;
    for (int64_t i = 0; i < gpu->processes; i++) {
        if (gpu->process[i].graphics != graphics) continue;
        if (out && found < *count) {
            out[found] = (Running){(unsigned)gpu->process[i].pid, gpu->process[i].memory_b, ~0u, ~0u};
        }
        found++;
    }
    int fits = found == 0 || (out && found <= *count);
    *count = found;
    return fits ? OK : TOO_SMALL;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *gpu, unsigned *count, Running *out) { return running(gpu, count, out, 0); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(Gpu *gpu, unsigned *count, Running *out) { return running(gpu, count, out, 1); }

typedef struct { unsigned pid; unsigned long long at_us; unsigned sm, memory, encoder, decoder; } Share;

int nvmlDeviceGetProcessUtilization(Gpu *gpu, Share *out, unsigned *count, unsigned long long since_us) {
    int code = entered(gpu, SHARES);
    if (code) return code;
    (void)since_us;
    if (gpu->processes == 0) return NOT_FOUND; /* as the driver says it where nothing was sampled */
    int fits = out && *count >= gpu->processes;
    *count = (unsigned)gpu->processes;
    if (!fits) return TOO_SMALL;
    for (int64_t i = 0; i < gpu->processes; i++)
        out[i] = (Share){(unsigned)gpu->process[i].pid, (unsigned long long)now_us(), (unsigned)gpu->process[i].busy_pct, 0, 0, 0};
    return OK;
}
