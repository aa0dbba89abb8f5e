"""Drawing surfaces of a scene in world coordinates, far to near."""

from collections.abc import Callable

import cv2
import numpy as np

from .camera import NEAR, Camera, clip_near
from .light import Light


class Canvas:
    """Image, labels, depth and lamp light of one scene while it is painted.

    Every drawing method paints over what is there, so draw from far to near.

    Attributes:
        rgb: (H, W, 3) uint8 surface colors, shaded by sun and sky.
        labels: (H, W) uint8 train ids.
        depth: (H, W) float32 distance in meters; 0 where haze must not act (sky, hood).
        glow: (H, W, 3) uint8 light of lamps.
    """

    def __init__(self, height: int, width: int, camera: Camera, light: Light) -> None:
        self.camera = camera
        self.light = light
        self.rgb = np.zeros((height, width, 3), np.uint8)
        self.labels = np.zeros((height, width), np.uint8)
        self.depth = np.zeros((height, width), np.float32)
        self.glow = np.zeros((height, width, 3), np.uint8)

    def pixels_per_meter(self, z: float) -> float:
        """Size in pixels of one meter at distance ``z``."""
        return self.camera.focal / max(z, NEAR)

    def shows_details(self, z: float) -> bool:
        """Whether details of some decimeters are larger than a pixel at distance ``z``."""
        return self.pixels_per_meter(z) > 10

    def polygon(
        self,
        points: np.ndarray,
        color: np.ndarray | None,
        label: int | None,
        normal: tuple[float, float, float] | None = None,
    ) -> None:
        """Fill a flat polygon.

        Args:
            points: (N, 3) corners in meters.
            color: RGB in 0..255; None leaves the background visible under the label.
            label: Train id; None paints the color only (a detail of what is already there).
            normal: Unit normal for the shading; None for no shading.
        """
        points = clip_near(np.asarray(points, dtype=np.float64))
        if len(points) < 3:
            return
        shade = 1.0 if normal is None else self.light.shade(normal)
        self._fill(
            self._pixels(points), color, label, shade, float(points[:, 2].sum()) / len(points)
        )

    def hull(self, points: np.ndarray, color: np.ndarray, label: int | None) -> None:
        """Fill the outline of a convex body with corners (N, 3), as the camera sees it."""
        points = np.asarray(points, dtype=np.float64)
        if points[:, 2].min() < NEAR:
            return
        outline = cv2.convexHull(self._pixels(points))
        self._fill(outline, color, label, 1.0, float(points[:, 2].sum()) / len(points))

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        # Far outside the picture OpenCV's fixed-point coordinates would overflow.
        pixels = self.camera.project(points)
        return np.rint(np.maximum(np.minimum(pixels, 16000), -16000)).astype(np.int32)

    def _fill(
        self,
        outline: np.ndarray,
        color: np.ndarray | None,
        label: int | None,
        shade: float,
        z: float,
    ) -> None:
        if color is not None:
            cv2.fillPoly(self.rgb, [outline], rgb_scalar(color, shade))
        if label is not None:
            cv2.fillPoly(self.labels, [outline], int(label))
            cv2.fillPoly(self.depth, [outline], z)

    def disk(self, center: np.ndarray, radius: float, color: np.ndarray, label: int | None) -> None:
        """Fill a disk of ``radius`` meters that faces the camera."""
        center = np.asarray(center, dtype=np.float64)
        self.disks(center[None], np.array([radius]), np.asarray(color)[None], label)

    def disks(
        self, centers: np.ndarray, radii: np.ndarray, colors: np.ndarray, label: int | None
    ) -> None:
        """Fill disks that face the camera, in the order given.

        Args:
            centers: (N, 3) in meters.
            radii: (N,) in meters.
            colors: (N, 3) RGB.
            label: Train id of all; None paints the color only.
        """
        visible = centers[:, 2] >= NEAR
        if not visible.all():
            centers, radii, colors = centers[visible], radii[visible], colors[visible]
        pixels = self._pixels(centers).tolist()
        sizes = np.maximum(1, np.rint(radii * (self.camera.focal / centers[:, 2]))).astype(int)
        colors = np.maximum(np.minimum(colors, 255), 0).tolist()
        depths = centers[:, 2].tolist()
        for pixel, size, color, z in zip(pixels, sizes.tolist(), colors, depths, strict=True):
            cv2.circle(self.rgb, pixel, size, color, -1)
            if label is not None:
                cv2.circle(self.labels, pixel, size, int(label), -1)
                cv2.circle(self.depth, pixel, size, z, -1)

    def line(self, points: np.ndarray, width: float, color: np.ndarray, label: int | None) -> None:
        """Draw a polyline through (N, 3) points, ``width`` meters thick, at least one pixel."""
        points = np.asarray(points, dtype=np.float64)
        if points[:, 2].min() < NEAR:
            return
        z = float(points[:, 2].sum()) / len(points)
        corners = self._pixels(points)
        size = max(1, round(width * self.pixels_per_meter(z)))
        cv2.polylines(self.rgb, [corners], False, rgb_scalar(color), size)
        if label is not None:
            cv2.polylines(self.labels, [corners], False, int(label), size)
            cv2.polylines(self.depth, [corners], False, z, size)

    def face(
        self,
        corners: np.ndarray,
        texture: Callable[[], tuple[np.ndarray, np.ndarray | None]],
        label: int,
        normal: tuple[float, float, float],
    ) -> None:
        """Draw a texture on a vertical rectangle.

        Args:
            corners: (4, 3) world corners, Z >= NEAR: top left, top right, bottom right, bottom left
                of the texture.
            texture: Makes the texture, (h, w, 3) uint8 RGB, and None or its opacity, (h, w) uint8;
                below 128 the background shows through (its label does not). Called only if the
                rectangle is in view.
            label: Train id of the whole rectangle.
            normal: Unit normal for the shading.
        """
        height, width = self.labels.shape
        pixels = self.camera.project(np.asarray(corners, dtype=np.float64))
        x0, y0 = np.maximum(np.floor(pixels.min(0)), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(pixels.max(0)) + 1, (width, height)).astype(int)
        if x1 - x0 < 1 or y1 - y0 < 1:
            return
        image, alpha = texture()
        h, w = image.shape[:2]
        source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
        transform = cv2.getPerspectiveTransform(source, (pixels - (x0, y0)).astype(np.float32))
        size = (int(x1 - x0), int(y1 - y0))
        mask = np.zeros(size[::-1], np.uint8)
        outline = np.rint(np.clip(pixels - (x0, y0), -16000, 16000)).astype(np.int32)
        cv2.fillPoly(mask, [outline], 255)
        window = np.s_[y0:y1, x0:x1]
        # Distance as seen along each column; exact for vertical rectangles.
        columns = np.array([pixels[0, 0], pixels[1, 0]])
        depths = 1 / np.asarray(corners, float)[:2, 2]
        order = np.argsort(columns)
        inverse = np.interp(np.arange(x0, x1), columns[order], depths[order])
        depth = np.broadcast_to((1 / inverse).astype(np.float32), size[::-1])
        cv2.copyTo(np.ascontiguousarray(depth), mask, self.depth[window])
        self.labels[window][mask > 0] = label
        shaded = cv2.convertScaleAbs(image, alpha=self.light.shade(normal))
        warped = cv2.warpPerspective(shaded, transform, size, borderMode=cv2.BORDER_REPLICATE)
        if alpha is not None:
            mask &= cv2.warpPerspective(alpha, transform, size)
            mask[mask < 128] = 0
        cv2.copyTo(warped, mask, self.rgb[window])

    def lamp(self, center: np.ndarray, radius: float, color: np.ndarray) -> None:
        """Let a lamp of ``radius`` meters shine, if lamps are on."""
        if not self.light.lamps or center[2] < NEAR:
            return
        (pixel,) = self._pixels(np.asarray(center, dtype=np.float64)[None]).tolist()
        size = max(1, round(radius * self.pixels_per_meter(center[2])))
        cv2.circle(self.glow, pixel, size, rgb_scalar(color), -1)


def rgb_scalar(color: np.ndarray, shade: float = 1.0) -> tuple[int, int, int]:
    """An RGB color times ``shade`` as integers in 0..255, as OpenCV wants it."""
    r, g, b = np.asarray(color).tolist()
    return (
        min(255, max(0, round(r * shade))),
        min(255, max(0, round(g * shade))),
        min(255, max(0, round(b * shade))),
    )
