/* The two digests that are made of whole epochs, compiled: of the order of sample ids (order.py) and of the bits of small
 * tensors (signals/bit_sum.py). Each gives the number that numpy gives there, and none of its calls: between the batches of a
 * training these are cold, and cost several times what they cost in a loop.
 *
 * Only what stands in the buffers that are given is read. All arithmetic is modulo 2**64.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define INTERFACE 1 /* raised with each change of what a function takes or gives; digests.py asks for it */

#define BASE 0xD1342543DE82EF95u  /* of the polynomial of an order, as in order.py */
#define SPREAD 0x9E3779B97F4A7C15u /* 2**64 divided by the golden ratio, odd */
#define AGAIN 0xBF58476D1CE4E5B9u
#define LAST 0x94D049BB133111EBu
#define WIDTH 8192 /* columns of the table of odd numbers, as in bit_sum.py */

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x += SPREAD;
    x = (x ^ (x >> 30)) * AGAIN;
    x = (x ^ (x >> 27)) * LAST;
    return x ^ (x >> 31);
}

/* Of signed numbers: the sign fills up from above. */
static uint64_t shifted(uint64_t x, int by)
{
    return (x >> by) | (x >> 63 ? ~(uint64_t)0 << (64 - by) : 0);
}

/* The odd number of a column. */
static uint64_t odd(uint64_t column)
{
    uint64_t x = (column + 1) * SPREAD;
    x = (x ^ shifted(x, 31)) * AGAIN;
    return (x ^ shifted(x, 29)) | 1;
}

static uint64_t word(const char *at, Py_ssize_t left)
{
    uint64_t value = 0;
    memcpy(&value, at, left < 8 ? (size_t)left : 8);
    return value;
}

static PyObject *appended(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer ids;
    unsigned long long sum, order;
    if (!PyArg_ParseTuple(args, "y*KK", &ids, &sum, &order))
        return NULL;
    for (Py_ssize_t at = 0; at + 8 <= ids.len; at += 8) {
        uint64_t mixed = mix(word((const char *)ids.buf + at, 8));
        sum += mixed;
        order = order * BASE + mixed;
    }
    PyBuffer_Release(&ids);
    return Py_BuildValue("KK", sum, order);
}

static PyObject *weighted(PyObject *Py_UNUSED(module), PyObject *given)
{
    Py_buffer octets;
    uint64_t total = 0;
    if (PyObject_GetBuffer(given, &octets, PyBUF_SIMPLE) < 0)
        return NULL;
    Py_ssize_t words = (octets.len + 7) / 8;
    for (Py_ssize_t row = 0; row * WIDTH < words; row++) {
        Py_ssize_t columns = words - row * WIDTH < WIDTH ? words - row * WIDTH : WIDTH;
        uint64_t sum = 0;
        for (Py_ssize_t column = 0; column < columns; column++) {
            Py_ssize_t at = (row * WIDTH + column) * 8;
            uint64_t x = word((const char *)octets.buf + at, octets.len - at);
            sum += (x ^ shifted(x, 32)) * odd((uint64_t)column);
        }
        total += columns == WIDTH ? sum * odd((uint64_t)row + 1) : sum;
    }
    PyBuffer_Release(&octets);
    return PyLong_FromUnsignedLongLong(total);
}

static PyMethodDef METHODS[] = {
    {"appended", appended, METH_VARARGS, "(sum, order) after the ids of a buffer of 64-bit integers, from those before them."},
    {"weighted", weighted, METH_O, "Weighted sum of the bytes of a buffer of less than 65,536 * 8192 words, filled up to words."},
    {NULL, NULL, 0, NULL}};
static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_digests", "Digests of orders and of bits.", -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__digests(void)
{
    PyObject *module = PyModule_Create(&MODULE);
    if (module != NULL && PyModule_AddIntConstant(module, "INTERFACE", INTERFACE) < 0)
        Py_CLEAR(module);
    return module;
}
