"""When long work says how far it has come."""

from cxrjax.base import files


def test_time_left_by_hand(monkeypatch):
    """10 of 100 were done when compilation was over; 30 more took 60 s, so 60 take 120 s. Silence in between."""
    now = [0.0]
    monkeypatch.setattr(files.time, "monotonic", lambda: now[0])
    clock = files.Clock(100)
    now[0] = 15.0
    assert clock.tick(10) == ""
    now[0] = 16.0
    assert clock.tick(10) == ""
    now[0] = 75.0
    assert clock.tick(40) == "2.0 min left"
    assert clock.tick(41) == ""
