"""Keeps the rows, events and ids of one recording session, and hands them over to disk.

Contract (framework-free; called by record/writer.py, which knows torch):

    session = Session(logdir, event_file, warn=callback)
    session.put({"loss": 0.3, "step": 7, ...}, ids=array|None, classes=array|None)   -> batch index of the new row
    session.amend({"grad_norm": 1.2})     # later values for the newest row, until the next put or flush
    session.record("epoch_end", batch=None, step=0, text="", fields={...})           # None: before the next row
    session.flush()                       # closes the chunk; what was put is readable by TensorBoard afterwards
    session.close()                       # flush, remove the tail
"""
