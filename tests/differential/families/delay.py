"""delay: its classes of requests. Its clock is not asked, so every delay is 0."""
from generator import Row


def delay(g):
    length = g.length()
    areas = g.areas(g.number(1, 3), length)
    if not areas:
        return None
    return Row(length, 'delay ' + ' '.join('@%s %d 0' % (device.name, at) for device, at in areas),
               [device for device, _ in areas], max(device.block for device, _ in areas), [0, length])


def family(g):
    for _ in range(g.number(1, 3)):
        g.disk()
    for _ in range(g.number(2, 4)):
        g.volume(['delay', 'delay', 'linear', 'striped'], 3)
    g.use(g.volumes, 8, 18)
    g.look()


ROWS = {'delay': delay}
FAMILIES = {'delay': family}
