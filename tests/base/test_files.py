"""When long work says how far it has come."""

from cxrjax.base import files


def test_time_left_by_hand(monkeypatch):
    """10 of 100 were done before; 30 more took 60 s, so 60 take 120 s. Silence in between."""
    now = [0.0]
    monkeypatch.setattr(files.time, "monotonic", lambda: now[0])
    clock = files.Clock(100)
    assert clock.tick(10) == ""
    now[0] = 9.9
    assert clock.tick(20) == ""
    now[0] = 60.0
    assert clock.tick(40) == "2.0 min left"
    assert clock.tick(41) == ""
