from tb_losslens.record.disk.event_file import EventFile
from tests.record.disk.event_files import scalar, steps_in


class TestAnAddress:
    """Not a directory of this machine: as `gs://`, through TensorBoard's file layer. fsspec's memory is such a place."""

    def content(self, file):
        import fsspec

        with fsspec.open(file.path, "rb") as stored:
            return stored.read()

    def test_is_written_by_tensorboards_file_layer(self, tmp_path, warnings):
        file = EventFile("memory://run1/", warn=warnings.append)
        assert file.path.startswith("memory://run1/events.out.tfevents.")
        for step in range(20):
            file.add_event(scalar("a", 1, step))
            file.flush()
        (tmp_path / "copy").write_bytes(self.content(file))
        assert steps_in(tmp_path / "copy") == list(range(20))
        file.add_event(scalar("a", 1, 20))
        file.close()
        (tmp_path / "copy").write_bytes(self.content(file))
        assert steps_in(tmp_path / "copy") == list(range(21))
        assert warnings == []

    def test_that_nothing_can_write_to_is_one_warning(self, warnings):
        file = EventFile("nosuch://bucket/run", warn=warnings.append)
        file.add_event(scalar("a", 1, 0))
        file.close()
        assert file.failed
        assert len(warnings) == 1
        assert "nosuch://bucket/run" in warnings[0]

    def test_takes_a_session_without_a_tail(self, tmp_path, warnings, monkeypatch):
        from tb_losslens.record.disk.session import Session
        from tb_losslens.store.logdir import load_runs

        monkeypatch.chdir(tmp_path)
        file = EventFile("memory://run2", warn=warnings.append)
        session = Session("memory://run2", file, warnings.append)
        for i in range(600):
            session.put({"loss": float(i)})
        session.close()
        file.close()
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "events.out.tfevents.1").write_bytes(self.content(file))
        assert load_runs(tmp_path)["."].loss.tolist() == list(range(600))
        assert warnings == []
