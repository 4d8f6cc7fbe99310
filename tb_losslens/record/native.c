/* The short way (lane.py) for the plainest of its events, compiled.
 *
 * Each function here does what the Python method of the same name does where nothing is out of the ordinary, and otherwise
 * calls that method before anything has changed. So what is out of the ordinary is decided in one place, in Python, and a
 * package without this module differs from one with it in speed alone: in a real training the interpreter's own work on a
 * method costs some ten times what it costs in a loop that does nothing else.
 *
 * The state is that of the Python objects, whose slots are found once, by `install`. No signal handler runs in here, and no
 * other thread, unless something of the user's is called: then what was read before is read again.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER)
#include <windows.h>
#define FENCE() MemoryBarrier()
#else
#define FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

#define INTERFACE 1 /* raised with each change that native.py has to follow */

/* --- what `install` is given ------------------------------------------------------------------------------------------ */

static PyTypeObject *lane_type, *guard_type, *unusual_type, *rows_type, *series_type, *pass_type, *trail_type, *iterator_type,
    *tapped_type;
static PyObject *tensor_type, *array_type, *perf_counter, *is_grad_enabled;
static PyObject *py_forward, *py_called, *py_step, *py_stepped, *py_scalar, *py_next, *py_tapped_next;
static long FORWARD, CRITERION, STEP, STEPPED, SCALAR, END;
static Py_ssize_t NUMBER, INDEX, SIZE, TIME, WAIT, LOSS, RATE;
static long each, least;
static double far_off, newer;

static PyObject *s_training, *s_item, *s_requires_grad, *s_is_cpu, *s_dim, *s_grad, *s_version, *s_param_groups, *s_lr, *s_popleft,
    *s_appendleft, *s_append, *s_took, *s_over, *s_tell_delivery, *s_q;

/* offsets of slots, by the class that has them */
static Py_ssize_t L_on, L_model, L_criterion, L_optimizer, L_place, L_events, L_source, L_ahead, L_skipped, L_values, L_ids, L_raw,
    L_given, L_timed, L_awake, L_thread, L_guard, L_late, L_mode_at, L_modules, L_inputs, L_parameter, L_gradient, L_version,
    L_unusual, L_groups, L_rows, L_tag, L_scalar_at;
static Py_ssize_t G_depth, G_spent;
static Py_ssize_t U_level, U_spread, U_seen;
static Py_ssize_t R_number, R_given, R_count, R_series, R_clock, R_base;
static Py_ssize_t S_count, S_capacity, S_begin, S_due, S_size, S_rows, S_row_bytes, S_rows_word, S_log, S_entry, S_log_word,
    S_log_start, S_batch, S_memory, S_template, S_led;
static Py_ssize_t P_pulled;
static Py_ssize_t T_queue, T_skip;
static Py_ssize_t I_iterator, I_pass, I_trail, I_lane;
static Py_ssize_t N_iterator, N_trail;

typedef struct {
    const char *name;
    Py_ssize_t *at;
} Slot;

static const Slot LANE[] = {
    {"on", &L_on}, {"model", &L_model}, {"criterion", &L_criterion}, {"optimizer", &L_optimizer}, {"_place", &L_place},
    {"_events", &L_events}, {"_source", &L_source}, {"_ahead", &L_ahead}, {"_skipped", &L_skipped}, {"_values", &L_values},
    {"_ids", &L_ids}, {"_raw", &L_raw}, {"_given", &L_given}, {"_timed", &L_timed}, {"_awake", &L_awake},
    {"_thread", &L_thread}, {"_guard", &L_guard}, {"_late", &L_late}, {"_mode_at", &L_mode_at}, {"_modules", &L_modules},
    {"_inputs", &L_inputs}, {"_parameter", &L_parameter}, {"_gradient", &L_gradient}, {"_version", &L_version},
    {"_unusual", &L_unusual}, {"_groups", &L_groups}, {"_rows", &L_rows}, {"_tag", &L_tag}, {"_scalar_at", &L_scalar_at},
    {NULL, NULL}};
static const Slot GUARD[] = {{"depth", &G_depth}, {"spent", &G_spent}, {NULL, NULL}};
static const Slot UNUSUAL[] = {{"_level", &U_level}, {"_spread", &U_spread}, {"_seen", &U_seen}, {NULL, NULL}};
static const Slot ROWS[] = {{"number", &R_number}, {"given", &R_given}, {"count", &R_count}, {"series", &R_series},
                            {"clock", &R_clock}, {"base", &R_base}, {NULL, NULL}};
static const Slot SERIES[] = {
    {"count", &S_count}, {"capacity", &S_capacity}, {"begin", &S_begin}, {"_due", &S_due}, {"_size", &S_size},
    {"_rows", &S_rows}, {"_row_bytes", &S_row_bytes}, {"_rows_word", &S_rows_word}, {"_log", &S_log}, {"_entry", &S_entry},
    {"_log_word", &S_log_word}, {"_log_start", &S_log_start}, {"_batch", &S_batch}, {"_memory", &S_memory},
    {"_template", &S_template}, {"_led", &S_led}, {NULL, NULL}};
static const Slot PASS[] = {{"pulled", &P_pulled}, {NULL, NULL}};
static const Slot TRAIL[] = {{"_queue", &T_queue}, {"_skip", &T_skip}, {NULL, NULL}};
static const Slot ITERATOR[] = {{"_losslens_iterator", &I_iterator}, {"_losslens_pass", &I_pass}, {"_losslens_trail", &I_trail},
                                {"_losslens_lane", &I_lane}, {NULL, NULL}};
static const Slot TAPPED[] = {{"_iterator", &N_iterator}, {"_trail", &N_trail}, {NULL, NULL}};

/* --- slots ------------------------------------------------------------------------------------------------------------ */

#define GET(object, at) (*(PyObject **)((char *)(object) + (at)))

static int is(PyObject *object, PyTypeObject *type)
{
    return object != NULL && PyObject_TypeCheck(object, type);
}

/* Takes over the reference to `value`. */
static void set(PyObject *object, Py_ssize_t at, PyObject *value)
{
    PyObject *old = GET(object, at);
    GET(object, at) = value;
    Py_XDECREF(old);
}

static void set_to(PyObject *object, Py_ssize_t at, PyObject *value)
{
    Py_INCREF(value);
    set(object, at, value);
}

/* An exact int of 64 bits; 0 where it is anything else. */
static int integer(PyObject *object, long long *value)
{
    int overflow = 0;
    if (object == NULL || !PyLong_CheckExact(object))
        return 0;
    *value = PyLong_AsLongLongAndOverflow(object, &overflow);
    return !overflow;
}

static int integer_at(PyObject *object, Py_ssize_t at, long long *value)
{
    return integer(GET(object, at), value);
}

static int number(PyObject *object, double *value)
{
    if (object == NULL || !PyFloat_CheckExact(object))
        return 0;
    *value = PyFloat_AS_DOUBLE(object);
    return 1;
}

static double now(void)
{
    double seconds = -1.0;
    PyObject *value = PyObject_CallNoArgs(perf_counter);
    if (value == NULL)
        PyErr_Clear();
    else if (!number(value, &seconds))
        seconds = -1.0;
    Py_XDECREF(value);
    return seconds;
}

static void spend(PyObject *guard, double seconds)
{
    double before;
    PyObject *sum;
    if (!number(GET(guard, G_spent), &before))
        return;
    sum = PyFloat_FromDouble(before + seconds);
    if (sum == NULL)
        PyErr_Clear();
    else
        set(guard, G_spent, sum);
}

/* What Python's own method gives, with the same arguments. */
static PyObject *plain(PyObject *method, PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *all[8];
    if (count > 7) {
        PyErr_SetString(PyExc_TypeError, "too many arguments");
        return NULL;
    }
    all[0] = self;
    for (Py_ssize_t i = 0; i < count; i++)
        all[i + 1] = args[i];
    return PyObject_Vectorcall(method, all, count + 1, NULL);
}

/* Something went wrong in a look at things: Python's method meets the same, and knows what to do. An interrupt goes on. */
static int may_go_on(void)
{
    if (!PyErr_Occurred())
        return 1;
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return 0;
    PyErr_Clear();
    return 1;
}

/* The truth of an attribute that has to be True or False itself: -1 where it is neither. */
static int truth(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(object, name);
    int found = value == Py_True ? 1 : value == Py_False ? 0 : -1;
    Py_XDECREF(value);
    return found;
}

static int set_item(PyObject *values, Py_ssize_t at, PyObject *value)
{
    if (value == NULL)
        return 0;
    if (at < 0 || at >= PyList_GET_SIZE(values)) {
        Py_DECREF(value);
        return 0;
    }
    return PyList_SetItem(values, at, value) == 0;
}

/* --- the events ------------------------------------------------------------------------------------------------------- */

static long event_at(PyObject *lane, long long place)
{
    PyObject *events = GET(lane, L_events);
    long long kind;
    if (events == NULL || !PyTuple_CheckExact(events) || place < 0 || place >= PyTuple_GET_SIZE(events))
        return -1;
    return integer(PyTuple_GET_ITEM(events, place), &kind) ? (long)kind : -1;
}

/* True if an event of this kind is the next one, on the lane's own thread. */
static int comes(PyObject *lane, long kind, long long *place)
{
    PyObject *values = GET(lane, L_values);
    long long thread;
    if (GET(lane, L_on) != Py_True || values == NULL || !PyList_CheckExact(values) || !integer_at(lane, L_thread, &thread))
        return 0;
    if ((unsigned long)thread != PyThread_get_thread_ident() || !integer_at(lane, L_place, place))
        return 0;
    return event_at(lane, *place) == kind;
}

/* The same, and nothing of ours is on. */
static int expects(PyObject *lane, long kind, long long *place)
{
    PyObject *guard = GET(lane, L_guard);
    long long depth;
    return is(guard, guard_type) && integer_at(guard, G_depth, &depth) && !depth && comes(lane, kind, place);
}

static void goes_on(PyObject *lane, long long place)
{
    set(lane, L_place, PyLong_FromLongLong(place + 1)); /* a small one, which is always there */
}

/* As `Lane._store` with a series: 1 if the row is stored, 0 if nothing has changed. */
static int store(PyObject *lane, long long place, double at_time)
{
    PyObject *rows = GET(lane, L_rows), *values = GET(lane, L_values), *given = GET(lane, L_given), *ids = GET(lane, L_ids);
    PyObject *series, *led, *template = NULL, *step = NULL, *count_now = NULL, *rows_now = NULL;
    long long count, capacity, begin, size, first, row_bytes, rows_word, log, entry, log_word, log_start, batch, base, last, told, n;
    double due, clock;
    int64_t row[64], word;
    Py_buffer memory, samples;
    int done = 0;

    if (!is(rows, rows_type) || given == NULL || ids == NULL)
        return 0;
    series = GET(rows, R_series);
    if (!is(series, series_type) || !integer_at(series, S_count, &count) || !integer_at(series, S_capacity, &capacity))
        return 0;
    if (!number(GET(series, S_due), &due) || at_time >= due || count >= capacity)
        return 0;
    if (!integer_at(series, S_begin, &begin) || !integer_at(series, S_size, &size) || !integer_at(series, S_rows, &first)
        || !integer_at(series, S_row_bytes, &row_bytes) || !integer_at(series, S_rows_word, &rows_word)
        || !integer_at(series, S_log, &log) || !integer_at(series, S_entry, &entry)
        || !integer_at(series, S_log_word, &log_word) || !integer_at(series, S_log_start, &log_start)
        || !integer_at(series, S_batch, &batch) || !integer_at(rows, R_base, &base) || !integer_at(rows, R_number, &last)
        || !integer_at(rows, R_count, &told) || !number(GET(rows, R_clock), &clock))
        return 0;
    if (last >= LLONG_MAX - 1)
        return 0;
    last += 1;
    if (given != Py_None) {
        if (!integer(given, &n))
            return 0;
        if (n > last)
            last = n;
    }

    led = GET(series, S_led);
    if (led == NULL || !PyBytes_CheckExact(led) || PyBytes_GET_SIZE(led) != PyList_GET_SIZE(values) || PyBytes_GET_SIZE(led) > 64
        || PyBytes_GET_SIZE(led) * 8 > row_bytes)
        return 0;
    for (Py_ssize_t i = 0; i < PyBytes_GET_SIZE(led); i++) {
        PyObject *value = PyList_GET_ITEM(values, i);
        char code = PyBytes_AS_STRING(led)[i];
        double real;
        if (code == 'q') {
            if (i == NUMBER)
                n = last;
            else if (i == INDEX)
                n = base + count;
            else if (!integer(value, &n))
                return 0;
            row[i] = (int64_t)n;
        } else {
            if (i == NUMBER || i == INDEX)
                return 0;
            if (i == TIME)
                real = clock + at_time;
            else if (!number(value, &real))
                return 0;
            memcpy(&row[i], &real, 8);
        }
    }

    if (ids == Py_None) {
        if (size != -1)
            return 0;
    } else {
        template = GET(series, S_template);
        if (size < 0 || template == NULL || !PyBytes_CheckExact(template) || PyBytes_GET_SIZE(template) < 16
            || entry != PyBytes_GET_SIZE(template) + 8 * size)
            return 0;
    }
    step = PyLong_FromLongLong(last), count_now = PyLong_FromLongLong(count + 1), rows_now = PyLong_FromLongLong(told + 1);
    if (step == NULL || count_now == NULL || rows_now == NULL)
        goto end;
    if (GET(series, S_memory) == NULL || PyObject_GetBuffer(GET(series, S_memory), &memory, PyBUF_WRITABLE) < 0)
        goto end;
    if (first < 0 || count < begin || first + (count + 1) * row_bytes > memory.len || rows_word < 0
        || (rows_word + 1) * 8 > memory.len)
        goto release;

    if (template != NULL) {
        /* by the count and not from the last end: what was left half done is written over */
        long long head = PyBytes_GET_SIZE(template), at = log + (count - begin) * entry;
        char *to = (char *)memory.buf + at;
        if (log < 0 || at + entry > memory.len || log_word < 0 || (log_word + 1) * 8 > memory.len)
            goto release;
        if (PyObject_GetBuffer(ids, &samples, PyBUF_SIMPLE) < 0)
            goto release;
        if (samples.len != 8 * size) {
            PyBuffer_Release(&samples);
            goto release;
        }
        memcpy((char *)memory.buf + first + count * row_bytes, row, 8 * PyBytes_GET_SIZE(led));
        memcpy(to, PyBytes_AS_STRING(template), head);
        word = batch + count;
        memcpy(to + 8, &word, 8);
        memcpy(to + head, samples.buf, samples.len);
        PyBuffer_Release(&samples);
        FENCE();
        ((volatile int64_t *)memory.buf)[log_word] = at + entry - log_start;
    } else
        memcpy((char *)memory.buf + first + count * row_bytes, row, 8 * PyBytes_GET_SIZE(led));
    FENCE(); /* the count after what it counts: another process may be reading */
    ((volatile int64_t *)memory.buf)[rows_word] = count + 1;
    done = 1;
release:
    PyBuffer_Release(&memory);
end:
    if (done) {
        set(series, S_count, count_now);
        set(rows, R_number, step);
        set(rows, R_count, rows_now);
        set_to(rows, R_given, given);
        goes_on(lane, place);
        set_to(lane, L_raw, Py_None); /* last: what it lets go of may be anything */
    } else {
        Py_XDECREF(step), Py_XDECREF(count_now), Py_XDECREF(rows_now);
        PyErr_Clear();
    }
    return done;
}

/* As `Lane.pulled`: 1 if the batch is taken, 0 if nothing has changed, -1 with an interrupt. */
static int take(PyObject *lane, PyObject *source, PyObject *trail, double wait, PyObject *raw, double since)
{
    PyObject *queue, *ids, *waited, *guard = GET(lane, L_guard), *values = GET(lane, L_values);
    long long place, ahead, skipped, pulled;
    Py_ssize_t size;
    if (!expects(lane, END, &place) || GET(lane, L_source) != source || GET(lane, L_awake) == NULL || !is(trail, trail_type))
        return 0;
    if (!integer_at(lane, L_ahead, &ahead) || ahead <= 0 || !integer_at(lane, L_skipped, &skipped)
        || !integer_at(source, P_pulled, &pulled) || PyList_GET_SIZE(values) <= WAIT || PyList_GET_SIZE(values) <= SIZE)
        return 0;
    queue = GET(trail, T_queue);
    if (queue == NULL || PyObject_Size(queue) <= 0)
        return PyErr_Clear(), 0;
    waited = PyFloat_FromDouble(wait);
    ids = waited == NULL ? NULL : PyObject_CallMethodNoArgs(queue, s_popleft);
    if (ids == NULL) {
        Py_XDECREF(waited);
        return PyErr_Clear(), 0;
    }
    size = (PyObject *)Py_TYPE(ids) == array_type ? PyObject_Size(ids) : -1;
    if (size < 0) {
        PyObject *back;
        PyErr_Clear();
        back = PyObject_CallMethodOneArg(queue, s_appendleft, ids);
        Py_XDECREF(back);
        Py_DECREF(ids), Py_DECREF(waited);
        return PyErr_Clear(), 0;
    }
    Py_INCREF(ids); /* for the delivery, whatever happens to the lane meanwhile */
    set_item(values, SIZE, PyLong_FromSsize_t(size));
    set_item(values, WAIT, waited);
    set(lane, L_ahead, PyLong_FromLongLong(ahead - 1));
    set(lane, L_skipped, PyLong_FromLongLong(skipped + 1));
    set(source, P_pulled, PyLong_FromLongLong(pulled + 1));
    set_to(lane, L_timed, (pulled + 1) % each == 0 ? Py_True : Py_False);
    set(lane, L_ids, ids);
    set_to(lane, L_given, Py_None);
    set(lane, L_place, PyLong_FromLong(1));
    set_to(lane, L_raw, raw);
    spend(guard, now() - since);
    if (GET(lane, L_awake) != Py_False) {
        PyObject *told = PyObject_CallMethodObjArgs(lane, s_tell_delivery, source, ids, raw, NULL);
        Py_DECREF(ids);
        if (told == NULL)
            return -1;
        Py_DECREF(told);
    } else
        Py_DECREF(ids);
    return 1;
}

static PyObject *lane_forward(PyObject *lane, PyObject *const *args, Py_ssize_t count)
{
    PyObject *module, *given, *seen, *modules, *enabled;
    long long place, mode_at;
    double start;
    if (count != 3)
        return plain(py_forward, lane, args, count);
    module = args[0], given = args[1];
    if (module != GET(lane, L_model))
        Py_RETURN_FALSE;
    start = GET(lane, L_timed) == Py_True ? now() : 0.0;
    if (!expects(lane, FORWARD, &place) || !PyDict_CheckExact(args[2]) || PyDict_GET_SIZE(args[2]) || !PyTuple_CheckExact(given) || PyTuple_GET_SIZE(given) != 1
        || (PyObject *)Py_TYPE(PyTuple_GET_ITEM(given, 0)) != tensor_type)
        return plain(py_forward, lane, args, count);

    /* what may run code of the user's comes first */
    modules = GET(lane, L_modules);
    if (modules == NULL || !PyList_CheckExact(modules))
        return plain(py_forward, lane, args, count);
    Py_INCREF(modules);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(modules); i++) {
        PyObject *part = PyList_GET_ITEM(modules, i);
        int on;
        Py_INCREF(part);
        on = truth(part, s_training);
        Py_DECREF(part);
        if (on != 1) {
            Py_DECREF(modules);
            return may_go_on() ? plain(py_forward, lane, args, count) : NULL;
        }
    }
    Py_DECREF(modules);
    seen = PyWeakref_NewRef(PyTuple_GET_ITEM(given, 0), NULL);
    enabled = seen == NULL ? NULL : PyObject_CallNoArgs(is_grad_enabled);
    if (enabled != Py_True || !expects(lane, FORWARD, &place) || GET(lane, L_late) != Py_None
        || !integer_at(lane, L_mode_at, &mode_at) || !set_item(GET(lane, L_values), mode_at, PyFloat_FromDouble(1.0))) {
        Py_XDECREF(seen), Py_XDECREF(enabled);
        return may_go_on() ? plain(py_forward, lane, args, count) : NULL;
    }
    Py_DECREF(enabled);
    set(lane, L_inputs, seen);
    goes_on(lane, place);
    if (start > 0.0)
        spend(GET(lane, L_guard), each * (now() - start));
    Py_RETURN_TRUE;
}

static PyObject *lane_called(PyObject *lane, PyObject *const *args, Py_ssize_t count)
{
    PyObject *output, *unusual, *parameter, *value = NULL, *gradient = NULL, *version = NULL, *identity = NULL, *dim, *level, *spread;
    long long place, dims = -1, seen;
    double start, loss, middle, wide, off;
    if (count != 4)
        return plain(py_called, lane, args, count);
    if (args[0] != GET(lane, L_criterion))
        Py_RETURN_FALSE;
    output = args[3];
    start = GET(lane, L_timed) == Py_True ? now() : 0.0;
    if (!PyDict_CheckExact(args[2]) || PyDict_GET_SIZE(args[2]) || (PyObject *)Py_TYPE(output) != tensor_type
        || !expects(lane, CRITERION, &place) || GET(lane, L_late) != Py_None)
        return plain(py_called, lane, args, count);
    dim = PyObject_CallMethodNoArgs(output, s_dim);
    if (!integer(dim, &dims) || dims || truth(output, s_requires_grad) != 1 || truth(output, s_is_cpu) != 1)
        goto python;
    value = PyObject_CallMethodNoArgs(output, s_item);
    if (!number(value, &loss))
        goto python;
    parameter = GET(lane, L_parameter);
    if (parameter == NULL)
        goto python;
    if (parameter != Py_None) {
        Py_INCREF(parameter); /* to ask it may call something of the user's */
        gradient = PyObject_GetAttr(parameter, s_grad);
        Py_DECREF(parameter);
        if (gradient == NULL)
            goto python;
    }
    if (gradient == NULL || gradient == Py_None) {
        identity = PyLong_FromLong(0), version = PyLong_FromLong(0);
    } else {
        version = PyObject_GetAttr(gradient, s_version);
        identity = PyLong_FromVoidPtr(gradient); /* as `id` */
    }
    unusual = GET(lane, L_unusual);
    if (!is(unusual, unusual_type) || !number(GET(unusual, U_level), &middle) || !number(GET(unusual, U_spread), &wide)
        || !integer_at(unusual, U_seen, &seen))
        goto python;
    off = loss - middle;
    if (seen < least || !(fabs(off) <= far_off * wide))
        goto python; /* an unusual loss is worth a closer look */
    level = PyFloat_FromDouble(middle + newer * off), spread = PyFloat_FromDouble(wide + newer * (fabs(off) - wide));
    if (version == NULL || identity == NULL || level == NULL || spread == NULL || !expects(lane, CRITERION, &place)
        || !set_item(GET(lane, L_values), LOSS, (Py_INCREF(value), value))) {
        Py_XDECREF(level), Py_XDECREF(spread);
        goto python;
    }
    set(unusual, U_level, level);
    set(unusual, U_spread, spread);
    set(unusual, U_seen, PyLong_FromLongLong(seen + 1));
    set(lane, L_gradient, identity);
    set(lane, L_version, version);
    goes_on(lane, place);
    Py_DECREF(dim), Py_DECREF(value), Py_XDECREF(gradient);
    if (start > 0.0)
        spend(GET(lane, L_guard), each * (now() - start));
    Py_RETURN_TRUE;
python:
    Py_XDECREF(dim), Py_XDECREF(value), Py_XDECREF(gradient), Py_XDECREF(version), Py_XDECREF(identity);
    return may_go_on() ? plain(py_called, lane, args, count) : NULL;
}

static PyObject *lane_step(PyObject *lane, PyObject *const *args, Py_ssize_t count)
{
    long long place;
    if (count < 1)
        return plain(py_step, lane, args, count);
    if (args[0] != GET(lane, L_optimizer))
        Py_RETURN_FALSE;
    if (!expects(lane, STEP, &place) || GET(lane, L_late) != Py_None)
        return plain(py_step, lane, args, count);
    goes_on(lane, place);
    Py_RETURN_TRUE;
}

/* The learning rates of all groups, into `values`; 0 if one of them is no plain number. */
static int rates(PyObject *lane, PyObject *optimizer)
{
    PyObject *groups = PyObject_GetAttr(optimizer, s_param_groups), *values = GET(lane, L_values);
    long long expected;
    int all = 0;
    if (groups == NULL)
        return 0;
    if (PyList_CheckExact(groups) && integer_at(lane, L_groups, &expected) && PyList_GET_SIZE(groups) == expected) {
        all = 1;
        for (Py_ssize_t i = 0; i < expected && all; i++) {
            PyObject *group = PyList_GET_ITEM(groups, i);
            PyObject *rate = PyDict_CheckExact(group) ? PyDict_GetItemWithError(group, s_lr) : NULL;
            all = rate != NULL && PyFloat_CheckExact(rate);
            if (all) {
                Py_INCREF(rate);
                all = set_item(values, RATE + i, rate);
            }
        }
    }
    Py_DECREF(groups);
    return all;
}

static PyObject *lane_stepped(PyObject *lane, PyObject *const *args, Py_ssize_t count)
{
    long long place;
    double start;
    if (count < 1)
        return plain(py_stepped, lane, args, count);
    if (args[0] != GET(lane, L_optimizer))
        Py_RETURN_FALSE;
    start = now();
    if (!expects(lane, STEPPED, &place) || !rates(lane, args[0]) || !expects(lane, STEPPED, &place))
        return may_go_on() ? plain(py_stepped, lane, args, count) : NULL;
    if (event_at(lane, place + 1) != END)
        goes_on(lane, place);
    else if (!store(lane, place, start))
        return plain(py_stepped, lane, args, count);
    spend(GET(lane, L_guard), now() - start);
    Py_RETURN_TRUE;
}

static PyObject *lane_scalar(PyObject *lane, PyObject *const *args, Py_ssize_t count)
{
    PyObject *tag = GET(lane, L_tag);
    long long place, scalar_at;
    double value;
    if (count != 3 || tag == NULL || !PyUnicode_CheckExact(tag) || !PyUnicode_CheckExact(args[0]) || !number(args[1], &value)
        || !isfinite(value) || !(args[2] == Py_None || PyLong_CheckExact(args[2])))
        return plain(py_scalar, lane, args, count);
    if (PyUnicode_Compare(tag, args[0]) != 0 || !comes(lane, SCALAR, &place) || GET(lane, L_late) != Py_None
        || !integer_at(lane, L_scalar_at, &scalar_at)
        || !set_item(GET(lane, L_values), scalar_at, (Py_INCREF(args[1]), args[1])))
        return may_go_on() ? plain(py_scalar, lane, args, count) : NULL;
    set_to(lane, L_given, args[2]);
    if (event_at(lane, place + 1) != END)
        goes_on(lane, place);
    else if (!store(lane, place, now()))
        return plain(py_scalar, lane, args, count);
    Py_RETURN_TRUE;
}

/* --- iterators -------------------------------------------------------------------------------------------------------- */

/* As `PassIterator.__next__`. */
static PyObject *pass_next(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *iterator = GET(self, I_iterator), *source = GET(self, I_pass), *trail = GET(self, I_trail), *lane, *batch, *told;
    long long pulled;
    double start, end;
    if (iterator == NULL || trail == NULL || Py_TYPE(iterator)->tp_iternext == NULL || !is(source, pass_type)
        || !integer_at(source, P_pulled, &pulled) || (trail != Py_None && !pulled))
        return plain(py_next, self, NULL, 0);
    start = now();
    Py_INCREF(iterator);
    batch = Py_TYPE(iterator)->tp_iternext(iterator);
    Py_DECREF(iterator);
    if (batch == NULL) {
        PyObject *type, *value, *trace;
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_StopIteration))
            return NULL;
        PyErr_Fetch(&type, &value, &trace);
        told = PyObject_CallMethodNoArgs(self, s_over);
        if (told == NULL) {
            Py_XDECREF(type), Py_XDECREF(value), Py_XDECREF(trace);
            return NULL;
        }
        Py_DECREF(told);
        if (type == NULL)
            PyErr_SetNone(PyExc_StopIteration);
        else
            PyErr_Restore(type, value, trace);
        return NULL;
    }
    end = now();
    lane = GET(self, I_lane), source = GET(self, I_pass), trail = GET(self, I_trail);
    if (is(lane, lane_type) && is(source, pass_type) && trail != NULL) {
        int taken;
        Py_INCREF(lane), Py_INCREF(source), Py_INCREF(trail);
        taken = take(lane, source, trail, end - start, batch, end);
        Py_DECREF(lane), Py_DECREF(source), Py_DECREF(trail);
        if (taken < 0)
            Py_CLEAR(batch);
        if (taken)
            return batch;
    }
    {
        PyObject *waited = PyFloat_FromDouble(end - start), *at = PyFloat_FromDouble(end);
        told = waited == NULL || at == NULL ? NULL : PyObject_CallMethodObjArgs(self, s_took, batch, waited, at, NULL);
        Py_XDECREF(waited), Py_XDECREF(at);
    }
    if (told == NULL) {
        Py_DECREF(batch);
        return NULL;
    }
    Py_DECREF(told);
    return batch;
}

/* A list of plain integers as `array("q", ids)`; NULL, without an error, where it is anything else. */
static PyObject *as_array(PyObject *ids)
{
    PyObject *bytes, *array;
    int64_t *to;
    Py_ssize_t count;
    if (!PyList_CheckExact(ids) || PyList_GET_SIZE(ids) == 0)
        return NULL;
    count = PyList_GET_SIZE(ids);
    bytes = PyBytes_FromStringAndSize(NULL, 8 * count);
    if (bytes == NULL)
        return PyErr_Clear(), NULL;
    to = (int64_t *)PyBytes_AS_STRING(bytes);
    for (Py_ssize_t i = 0; i < count; i++) {
        long long value;
        if (!integer(PyList_GET_ITEM(ids, i), &value)) {
            Py_DECREF(bytes);
            return PyErr_Clear(), NULL;
        }
        to[i] = value;
    }
    array = PyObject_CallFunctionObjArgs(array_type, s_q, bytes, NULL);
    Py_DECREF(bytes);
    if (array == NULL)
        PyErr_Clear();
    return array;
}

/* As `_Tapped.__next__`. */
static PyObject *tapped_next(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *iterator = GET(self, N_iterator), *trail = GET(self, N_trail), *index, *ids, *told = NULL;
    long long skip;
    if (iterator == NULL || Py_TYPE(iterator)->tp_iternext == NULL || !is(trail, trail_type))
        return plain(py_tapped_next, self, NULL, 0);
    Py_INCREF(iterator);
    index = Py_TYPE(iterator)->tp_iternext(iterator);
    Py_DECREF(iterator);
    if (index == NULL) {
        if (!PyErr_Occurred())
            PyErr_SetNone(PyExc_StopIteration);
        return NULL;
    }
    trail = GET(self, N_trail);
    ids = is(trail, trail_type) && integer_at(trail, T_skip, &skip) && !skip && GET(trail, T_queue) != NULL ? as_array(index) : NULL;
    if (ids != NULL) {
        told = PyObject_CallMethodOneArg(GET(trail, T_queue), s_append, ids);
        Py_DECREF(ids);
    } else if (trail != NULL)
        told = PyObject_CallMethodOneArg(trail, s_append, index);
    else
        PyErr_SetString(PyExc_AttributeError, "_trail");
    if (told == NULL) {
        Py_DECREF(index);
        return NULL;
    }
    Py_DECREF(told);
    return index;
}

/* --- the module ------------------------------------------------------------------------------------------------------- */

static PyMethodDef LANE_METHODS[] = {
    {"forward", (PyCFunction)(void (*)(void))lane_forward, METH_FASTCALL, "A watched model is called, or a copy of one."},
    {"called", (PyCFunction)(void (*)(void))lane_called, METH_FASTCALL, "A watched criterion returned, or a copy of one."},
    {"step", (PyCFunction)(void (*)(void))lane_step, METH_FASTCALL, "An optimiser is about to change the weights."},
    {"stepped", (PyCFunction)(void (*)(void))lane_stepped, METH_FASTCALL, "It has changed them."},
    {"scalar", (PyCFunction)(void (*)(void))lane_scalar, METH_FASTCALL, "The user wrote a scalar that may be the loss."},
    {NULL, NULL, 0, NULL}};
static PyMethodDef PASS_NEXT = {"__next__", pass_next, METH_NOARGS, "The next batch."};
static PyMethodDef TAPPED_NEXT = {"__next__", tapped_next, METH_NOARGS, "The next ids."};

static int resolve(PyTypeObject *type, const Slot *slots)
{
    for (; slots->name != NULL; slots++) {
        PyObject *found = PyObject_GetAttrString((PyObject *)type, slots->name);
        PyMemberDef *member = NULL;
        if (found != NULL && Py_TYPE(found) == &PyMemberDescr_Type)
            member = ((PyMemberDescrObject *)found)->d_member;
        if (member == NULL || member->type != T_OBJECT_EX) {
            Py_XDECREF(found);
            PyErr_Format(PyExc_TypeError, "%s.%s is no slot", type->tp_name, slots->name);
            return 0;
        }
        *slots->at = member->offset;
        Py_DECREF(found);
    }
    return 1;
}

static PyObject *wanted(PyObject *all, const char *name)
{
    PyObject *value = PyDict_GetItemString(all, name);
    if (value == NULL)
        PyErr_Format(PyExc_KeyError, "%s", name);
    else
        Py_INCREF(value); /* for good */
    return value;
}

static int type_of(PyObject *all, const char *name, PyTypeObject **type, const Slot *slots)
{
    PyObject *value = wanted(all, name);
    if (value == NULL)
        return 0;
    if (!PyType_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s is no class", name);
        return 0;
    }
    *type = (PyTypeObject *)value;
    return resolve(*type, slots);
}

static int whole(PyObject *all, const char *name, long long *value)
{
    PyObject *found = PyDict_GetItemString(all, name);
    if (integer(found, value))
        return 1;
    PyErr_Format(PyExc_TypeError, "%s is no integer", name);
    return 0;
}

static int real(PyObject *all, const char *name, double *value)
{
    if (number(PyDict_GetItemString(all, name), value))
        return 1;
    PyErr_Format(PyExc_TypeError, "%s is no float", name);
    return 0;
}

static PyObject *methods(PyObject *Py_UNUSED(module), PyObject *all)
{
    static struct {
        const char *name;
        PyObject **to;
    } objects[] = {{"Tensor", &tensor_type}, {"array", &array_type}, {"perf_counter", &perf_counter},
                   {"is_grad_enabled", &is_grad_enabled}, {"forward", &py_forward}, {"called", &py_called}, {"step", &py_step},
                   {"stepped", &py_stepped}, {"scalar", &py_scalar}, {"pass_next", &py_next},
                   {"tapped_next", &py_tapped_next}, {NULL, NULL}};
    static struct {
        const char *name;
        long *to;
    } kinds[] = {{"FORWARD", &FORWARD}, {"CRITERION", &CRITERION}, {"STEP", &STEP}, {"STEPPED", &STEPPED}, {"SCALAR", &SCALAR},
                 {"END", &END}, {"EACH", &each}, {"LEAST", &least}, {NULL, NULL}};
    static struct {
        const char *name;
        Py_ssize_t *to;
    } places[] = {{"NUMBER", &NUMBER}, {"INDEX", &INDEX}, {"SIZE", &SIZE}, {"TIME", &TIME}, {"WAIT", &WAIT}, {"LOSS", &LOSS},
                  {"RATE", &RATE}, {NULL, NULL}};
    PyObject *out, *method;
    long long value;
    if (!PyDict_Check(all)) {
        PyErr_SetString(PyExc_TypeError, "methods(all) expects a dict");
        return NULL;
    }
    for (int i = 0; objects[i].name != NULL; i++)
        if ((*objects[i].to = wanted(all, objects[i].name)) == NULL)
            return NULL;
    for (int i = 0; kinds[i].name != NULL; i++) {
        if (!whole(all, kinds[i].name, &value))
            return NULL;
        *kinds[i].to = (long)value;
    }
    for (int i = 0; places[i].name != NULL; i++) {
        if (!whole(all, places[i].name, &value))
            return NULL;
        *places[i].to = (Py_ssize_t)value;
    }
    if (each < 1)
        return PyErr_Format(PyExc_ValueError, "EACH is %ld", each);
    if (!real(all, "FAR", &far_off) || !real(all, "NEW", &newer))
        return NULL;
    if (!type_of(all, "Lane", &lane_type, LANE) || !type_of(all, "Meter", &guard_type, GUARD)
        || !type_of(all, "Unusual", &unusual_type, UNUSUAL) || !type_of(all, "LaneRows", &rows_type, ROWS)
        || !type_of(all, "Series", &series_type, SERIES) || !type_of(all, "Pass", &pass_type, PASS)
        || !type_of(all, "Trail", &trail_type, TRAIL) || !type_of(all, "PassIterator", &iterator_type, ITERATOR)
        || !type_of(all, "Tapped", &tapped_type, TAPPED))
        return NULL;

    out = PyDict_New();
    for (PyMethodDef *one = LANE_METHODS; out != NULL && one->ml_name != NULL; one++) {
        method = PyDescr_NewMethod(lane_type, one);
        if (method == NULL || PyDict_SetItemString(out, one->ml_name, method) < 0)
            Py_CLEAR(out);
        Py_XDECREF(method);
    }
    if (out != NULL) {
        method = PyDescr_NewMethod(iterator_type, &PASS_NEXT);
        if (method == NULL || PyDict_SetItemString(out, "pass_next", method) < 0)
            Py_CLEAR(out);
        Py_XDECREF(method);
    }
    if (out != NULL) {
        method = PyDescr_NewMethod(tapped_type, &TAPPED_NEXT);
        if (method == NULL || PyDict_SetItemString(out, "tapped_next", method) < 0)
            Py_CLEAR(out);
        Py_XDECREF(method);
    }
    return out;
}

static PyMethodDef MODULE_METHODS[] = {
    {"methods", methods, METH_O, "Compiled methods by name, for the classes, functions and numbers of the dict that is given."},
    {NULL, NULL, 0, NULL}};
static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_native", "The short way for the plainest of its events.", -1, MODULE_METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void)
{
    static struct {
        const char *text;
        PyObject **to;
    } names[] = {{"training", &s_training}, {"item", &s_item}, {"requires_grad", &s_requires_grad}, {"is_cpu", &s_is_cpu},
                 {"dim", &s_dim}, {"grad", &s_grad}, {"_version", &s_version}, {"param_groups", &s_param_groups}, {"lr", &s_lr},
                 {"popleft", &s_popleft}, {"appendleft", &s_appendleft}, {"append", &s_append}, {"_losslens_took", &s_took},
                 {"_losslens_over", &s_over}, {"tell_delivery", &s_tell_delivery}, {"q", &s_q}, {NULL, NULL}};
    PyObject *module;
    for (int i = 0; names[i].text != NULL; i++)
        if ((*names[i].to = PyUnicode_InternFromString(names[i].text)) == NULL)
            return NULL;
    module = PyModule_Create(&MODULE);
    if (module != NULL && PyModule_AddIntConstant(module, "INTERFACE", INTERFACE) < 0)
        Py_CLEAR(module);
    return module;
}
